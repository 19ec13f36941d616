//! Group sends that were planned with a roster that has changed since.
//!
//! The store refuses such a send as stale. It is planned again here, and not by its sender, so that
//! the order holds: the group is held until the sends that were refused together have their new
//! recipients, by one read of the roster, and are in a batch; whatever was sent to the group after them
//! waits behind them.

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Refusal;
use crate::id::GroupId;
use crate::map::Map;
use crate::service::roster::{KnownRoster, Rosters};
use crate::store::{Append, RosterVersion};

use super::waiting::Waiting;

/// How often a send is planned again before it is refused.
pub(super) const PLANS_MAX: u8 = 8;
/// Rosters that were read here and still serve older sends of the queue.
const FRESH_MAX: usize = 64;

type Loaded = (GroupId, Result<Arc<KnownRoster>, Refusal>);

/// What a new plan makes of a send.
#[derive(Debug)]
pub(super) enum Plan {
    /// Its recipients are those of now.
    Made,
    /// The group has nobody to receive it.
    Nobody,
    /// The sender may not send to the group any more, or the roster could not be read.
    Refused(Refusal),
}

/// The groups whose rosters are read, and their sends.
#[derive(Debug)]
pub(super) struct Replans {
    rosters: Rosters,
    /// Sends of groups whose roster is being read.
    waiting: Map<GroupId, Vec<Waiting>>,
    loads: FuturesUnordered<BoxFuture<'static, Loaded>>,
    /// Sends that are planned again, in order.
    planned: Vec<Waiting>,
    /// Groups with sends in `waiting` or `planned`, and how many.
    held: Map<GroupId, usize>,
    /// What was read lately: sends of the queue with an older plan are planned by it at once.
    fresh: Map<GroupId, (Arc<KnownRoster>, Instant)>,
    fresh_for: Duration,
}

impl Replans {
    pub(super) fn new(rosters: Rosters, send_deadline: Duration) -> Self {
        Self {
            rosters,
            waiting: Map::default(),
            loads: FuturesUnordered::new(),
            planned: Vec::new(),
            held: Map::default(),
            fresh: Map::default(),
            // An older plan does not live longer than its send.
            fresh_for: send_deadline,
        }
    }

    /// Sends that are here.
    pub(super) fn len(&self) -> usize {
        self.held.values().sum()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.held.is_empty() && self.fresh.is_empty()
    }

    /// Whether an earlier send of this group is here.
    pub(super) fn holds(&self, group: Option<GroupId>) -> bool {
        group.is_some_and(|group| self.held.contains_key(&group))
    }

    /// Takes a stale send, and has its group's roster read.
    pub(super) fn add(&mut self, group: GroupId, send: Waiting) {
        *self.held.entry(group).or_default() += 1;
        let waiting = self.waiting.entry(group).or_default();
        waiting.push(send);
        if waiting.len() == 1 {
            let rosters = self.rosters.clone();
            self.loads
                .push(Box::pin(async move { (group, rosters.load(group).await) }));
        }
    }

    /// The next roster that was read; `None` if none is being read.
    pub(super) async fn loaded(&mut self) -> Option<Loaded> {
        self.loads.next().await
    }

    /// Plans the group's sends; returns those that are answered instead.
    pub(super) fn plan_waiting(
        &mut self,
        group: GroupId,
        roster: Result<Arc<KnownRoster>, Refusal>,
        now: Instant,
    ) -> Vec<(Waiting, Plan)> {
        let mut answered = Vec::new();
        for mut send in self.waiting.remove(&group).unwrap_or_default() {
            let plan = match &roster {
                Ok(roster) => plan(&mut send.append, group, roster),
                Err(refusal) => Plan::Refused(refusal.clone()),
            };
            if matches!(plan, Plan::Made) {
                self.planned.push(send);
            } else {
                self.release(group);
                answered.push((send, plan));
            }
        }
        if let Ok(roster) = roster {
            self.forget_old(now);
            if self.fresh.len() < FRESH_MAX {
                self.fresh.insert(group, (roster, now));
            }
        }
        answered
    }

    /// The sends that are planned again, to be put into batches or [put back](Self::put_back).
    pub(super) fn take_planned(&mut self) -> Vec<Waiting> {
        std::mem::take(&mut self.planned)
    }

    /// One of those is in a batch, or answered.
    pub(super) fn release(&mut self, group: GroupId) {
        if let Some(count) = self.held.get_mut(&group) {
            *count -= 1;
            if *count == 0 {
                self.held.remove(&group);
            }
        }
    }

    /// Those that cannot be started yet.
    pub(super) fn put_back(&mut self, planned: Vec<Waiting>) {
        self.planned = planned;
    }

    /// Plans a send by a roster that was read after it was planned, if there is one.
    pub(super) fn refresh(&self, send: &mut Waiting) -> Plan {
        if self.fresh.is_empty() {
            return Plan::Made;
        }
        let Some((group, version)) = send.append.roster else {
            return Plan::Made;
        };
        match self.fresh.get(&group) {
            Some((roster, _)) if roster.version > version => plan(&mut send.append, group, roster),
            _ => Plan::Made,
        }
    }

    /// Forgets rosters that no send of the queue can be older than.
    pub(super) fn forget_old(&mut self, now: Instant) {
        if !self.fresh.is_empty() {
            let fresh_for = self.fresh_for;
            self.fresh.retain(|_, (_, read)| *read + fresh_for > now);
        }
    }
}

fn plan(append: &mut Append, group: GroupId, roster: &KnownRoster) -> Plan {
    let version: RosterVersion = roster.version;
    match roster.plan(append.message.sender, group) {
        Ok(recipients) if recipients.is_empty() => Plan::Nobody,
        Ok(recipients) => {
            append.recipients = recipients;
            append.roster = Some((group, version));
            Plan::Made
        }
        Err(refusal) => Plan::Refused(refusal),
    }
}
