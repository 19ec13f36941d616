//! Group sends that were planned with an outdated roster.
//!
//! The store refuses such a send as stale. The batch writer plans it again itself instead of
//! returning it to its sender, because that keeps the order: the group is blocked until all sends
//! that were refused together have their new recipients, by a single read of the roster, and are in
//! a batch. Later sends to the group wait behind them. Later sends of the same sender to other
//! receivers do not wait.

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::RequestRefusal;
use crate::id::GroupId;
use crate::map::FastHashMap;
use crate::roster::{CachedRoster, RosterCache};
use crate::store::{AppendRequest, RosterVersion};

use super::queued_send::QueuedSend;

/// Number of times that a send is planned again before it is refused.
pub(super) const MAX_REPLANS: u8 = 8;
/// Maximum number of rosters that are kept to plan older sends of the queue.
const MAX_RECENT_ROSTERS: usize = 64;

type LoadedRoster = (GroupId, Result<Arc<CachedRoster>, RequestRefusal>);

/// Outcome of planning a send again.
#[derive(Debug)]
pub(super) enum ReplanOutcome {
    /// The send has the recipients of the current roster.
    Made,
    /// The group has no recipient.
    Nobody,
    /// The sender may no longer send to the group, or the roster could not be read.
    Refused(RequestRefusal),
}

/// Groups whose rosters are being read, and their sends.
#[derive(Debug)]
pub(super) struct ReplannedSends {
    rosters: RosterCache,
    /// Sends of the groups whose roster is being read.
    waiting: FastHashMap<GroupId, Vec<QueuedSend>>,
    loads: FuturesUnordered<BoxFuture<'static, LoadedRoster>>,
    /// Sends that have been planned again, in order.
    planned: Vec<QueuedSend>,
    /// Groups with sends in `waiting` or `planned`, and the number of those sends.
    held: FastHashMap<GroupId, usize>,
    /// Rosters that were read lately. Sends of the queue that were planned with an older version
    /// are planned again before they start.
    recent_rosters: FastHashMap<GroupId, (Arc<CachedRoster>, Instant)>,
    recent_for: Duration,
}

impl ReplannedSends {
    pub(super) fn new(rosters: RosterCache, send_deadline: Duration) -> Self {
        Self {
            rosters,
            waiting: FastHashMap::default(),
            loads: FuturesUnordered::new(),
            planned: Vec::new(),
            held: FastHashMap::default(),
            recent_rosters: FastHashMap::default(),
            // A send does not live longer than its deadline, and neither does its plan.
            recent_for: send_deadline,
        }
    }

    /// Returns the number of sends that are here.
    pub(super) fn len(&self) -> usize {
        self.held.values().sum()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.held.is_empty() && self.recent_rosters.is_empty()
    }

    /// Returns whether an earlier send of this group is here.
    pub(super) fn holds(&self, group: Option<GroupId>) -> bool {
        group.is_some_and(|group| self.held.contains_key(&group))
    }

    /// Takes a stale send, and starts reading its group's roster unless that read is under way.
    pub(super) fn add(&mut self, group: GroupId, send: QueuedSend) {
        *self.held.entry(group).or_default() += 1;
        let waiting = self.waiting.entry(group).or_default();
        waiting.push(send);
        if waiting.len() == 1 {
            let rosters = self.rosters.clone();
            self.loads
                .push(Box::pin(async move { (group, rosters.load(group).await) }));
        }
    }

    /// Returns the next roster that was read; `None` if no read is under way.
    pub(super) async fn loaded(&mut self) -> Option<LoadedRoster> {
        self.loads.next().await
    }

    /// Plans the group's sends, and returns those that are answered instead of stored.
    pub(super) fn plan_waiting(
        &mut self,
        group: GroupId,
        roster: Result<Arc<CachedRoster>, RequestRefusal>,
        now: Instant,
    ) -> Vec<(QueuedSend, ReplanOutcome)> {
        let mut answered = Vec::new();
        for mut send in self.waiting.remove(&group).unwrap_or_default() {
            let plan = match &roster {
                Ok(roster) => plan(&mut send.append, group, roster),
                Err(refusal) => ReplanOutcome::Refused(refusal.clone()),
            };
            if matches!(plan, ReplanOutcome::Made) {
                self.planned.push(send);
            } else {
                self.release(group);
                answered.push((send, plan));
            }
        }
        if let Ok(roster) = roster {
            self.forget_old();
            if self.recent_rosters.len() < MAX_RECENT_ROSTERS {
                self.recent_rosters.insert(group, (roster, now));
            }
        }
        answered
    }

    /// Takes the sends that have been planned again. The caller puts each into a batch or [puts it
    /// back](Self::put_back).
    pub(super) fn take_planned(&mut self) -> Vec<QueuedSend> {
        std::mem::take(&mut self.planned)
    }

    /// Stops counting one of those sends: it is in a batch or answered.
    pub(super) fn release(&mut self, group: GroupId) {
        if let Some(count) = self.held.get_mut(&group) {
            *count -= 1;
            if *count == 0 {
                self.held.remove(&group);
            }
        }
    }

    /// Puts back the sends that cannot start yet.
    pub(super) fn put_back(&mut self, planned: Vec<QueuedSend>) {
        self.planned = planned;
    }

    /// Plans a send again if its group's roster was read after it was planned.
    pub(super) fn refresh(&self, send: &mut QueuedSend) -> ReplanOutcome {
        if self.recent_rosters.is_empty() {
            return ReplanOutcome::Made;
        }
        let Some((group, version)) = send.append.roster else {
            return ReplanOutcome::Made;
        };
        match self.recent_rosters.get(&group) {
            Some((roster, _)) if roster.version > version => plan(&mut send.append, group, roster),
            _ => ReplanOutcome::Made,
        }
    }

    /// Drops rosters that were read so long ago that every send in the queue was planned later.
    /// The batch writer calls this for each batch: while one is left, batches are not formed in the
    /// order of arrival.
    pub(super) fn forget_old(&mut self) {
        if !self.recent_rosters.is_empty() {
            let (now, fresh_for) = (Instant::now(), self.recent_for);
            self.recent_rosters
                .retain(|_, (_, read)| *read + fresh_for > now);
        }
    }
}

fn plan(append: &mut AppendRequest, group: GroupId, roster: &CachedRoster) -> ReplanOutcome {
    let version: RosterVersion = roster.version;
    match roster.plan(append.message.sender, group) {
        Ok(recipients) if recipients.is_empty() => ReplanOutcome::Nobody,
        Ok(recipients) => {
            append.recipients = recipients;
            append.roster = Some((group, version));
            ReplanOutcome::Made
        }
        Err(refusal) => ReplanOutcome::Refused(refusal),
    }
}
