//! Sends that met a lock of another node or session, set aside so that the rest goes on.
//!
//! A batch that met a lock stored nothing. Its sends are tried again in smaller and smaller batches,
//! by appends that do not wait for locks, until those that stand before a lock are alone; these are
//! tried again with growing pauses until their senders give up. Whatever else touches such a user or
//! group comes here at once, and does not drag a batch of strangers before the same lock.
//!
//! Order: nothing of a flow or a group that has a send here passes it. The list is in order, and a
//! step that leaves a send of it behind leaves all later ones of its flow and group behind as well.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::id::{GroupId, UserId};
use crate::map::Map;
use crate::store::Append;

use super::in_flight::InFlight;
use super::waiting::{BatchSize, FlowKey, Waiting};

/// The first pause before a locked send is tried again, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(400));
/// A user or group that was not tried for so long counts as unlocked.
const FORGET_AFTER: Duration = Duration::from_secs(2);
/// Recipients up to which a locked send blames them; above, it blames its group alone: one locked
/// member must not set its thousand neighbours aside.
const BLAMED_MAX: usize = 2;

/// A send that is set aside.
#[derive(Debug)]
struct AsideSend {
    send: Waiting,
    /// When it is given up, even if nobody waits for its answer.
    until: Instant,
    /// Sends of the batch in which it is tried.
    batch_max: usize,
}

/// A user or a group with a lock before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Locked {
    User(UserId),
    Group(GroupId),
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    retry_at: Instant,
    next: Duration,
}

/// What is set aside.
#[derive(Debug)]
pub(super) struct Aside {
    sends: Vec<AsideSend>,
    locked: Map<Locked, Pause>,
    /// Flows and groups with sends here or in a batch of such, and how many.
    flows: Map<FlowKey, usize>,
    groups: Map<GroupId, usize>,
    /// Batches of such sends in flight, and how many there may be.
    running: usize,
    running_max: usize,
    /// Before this there is nothing to try; `None` if only a batch that ends changes that.
    next_at: Option<Instant>,
    give_up: Duration,
}

/// Sends to be tried together, by an append that does not wait.
pub(super) type CautiousBatch = Vec<Waiting>;

impl Aside {
    pub(super) fn new(concurrency: usize, give_up: Duration) -> Self {
        Self {
            sends: Vec::new(),
            locked: Map::default(),
            flows: Map::default(),
            groups: Map::default(),
            running: 0,
            // The other half goes on with what stands before no lock.
            running_max: (concurrency / 2).max(1),
            next_at: None,
            give_up,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sends.len()
    }

    /// Nothing here, nothing of it in flight, and nobody known to be locked.
    pub(super) fn is_idle(&self) -> bool {
        self.sends.is_empty() && self.flows.is_empty() && self.locked.is_empty()
    }

    /// Whether an earlier send of this flow or group is here.
    pub(super) fn holds(&self, flow: FlowKey, group: Option<GroupId>) -> bool {
        self.flows.contains_key(&flow) || group.is_some_and(|it| self.groups.contains_key(&it))
    }

    /// Whether it stands before a lock that is known.
    pub(super) fn is_locked(&self, send: &Waiting) -> bool {
        !self.locked.is_empty() && suspects(&send.append).any(|it| self.locked.contains_key(&it))
    }

    /// When to look again although nothing has ended.
    pub(super) fn next_at(&self) -> Option<Instant> {
        (!self.sends.is_empty() && self.running < self.running_max)
            .then_some(self.next_at)
            .flatten()
    }

    /// Sets one send aside because a lock is known to stand before it.
    pub(super) fn add(&mut self, send: Waiting, now: Instant) {
        self.note(&send.append);
        self.put(send, now + self.give_up, 1);
        self.next_at = Some(now);
    }

    fn note(&mut self, send: &Append) {
        *self.flows.entry(FlowKey::of(send)).or_default() += 1;
        if let Some(group) = send.group() {
            *self.groups.entry(group).or_default() += 1;
        }
    }

    /// Forgets a send that is answered or dropped.
    pub(super) fn forget(&mut self, send: &Append) {
        less(&mut self.flows, &FlowKey::of(send));
        if let Some(group) = send.group() {
            less(&mut self.groups, &group);
        }
    }

    fn put(&mut self, send: Waiting, until: Instant, batch_max: usize) {
        self.sends.push(AsideSend {
            send,
            until,
            batch_max,
        });
    }

    /// Sets a whole batch aside that met a lock.
    pub(super) fn add_batch(&mut self, batch: Vec<Waiting>, now: Instant) {
        let batch_max = (batch.len() / 2).max(1);
        for send in batch {
            self.note(&send.append);
            self.put(send, now + self.give_up, batch_max);
        }
        self.next_at = Some(now);
    }

    /// A batch of ours met a lock again: it is split further; one alone has found its lock. Its sends
    /// go to the front, where they came from.
    pub(super) fn give_back(&mut self, batch: Vec<Waiting>, until: Instant, now: Instant) {
        if let [alone] = batch.as_slice() {
            for suspect in suspects(&alone.append) {
                let pause = self.locked.get(&suspect).map_or(PAUSE.0, |it| it.next);
                self.locked.insert(
                    suspect,
                    Pause {
                        retry_at: now + pause,
                        next: (pause * 2).min(PAUSE.1),
                    },
                );
            }
        }
        self.running -= 1;
        let batch_max = (batch.len() / 2).max(1);
        let back = batch.into_iter().map(|send| AsideSend {
            send,
            until,
            batch_max,
        });
        self.sends.splice(0..0, back);
        self.next_at = Some(now);
    }

    /// A batch of ours has ended without meeting a lock.
    pub(super) fn ended(&mut self, batch: &[Append]) {
        self.running -= 1;
        for send in batch {
            for suspect in suspects(send) {
                self.locked.remove(&suspect);
            }
            self.forget(send);
        }
    }

    /// Something has ended: what waited for it may be tried.
    pub(super) fn look_again(&mut self, now: Instant) {
        if !self.sends.is_empty() {
            self.next_at = Some(now);
        }
    }

    /// The next batch to be tried, with the time at which it is given up; and what nobody waits for
    /// any more, to be answered.
    pub(super) fn take(
        &mut self,
        now: Instant,
        in_flight: &InFlight,
        most: &BatchSize,
    ) -> (Option<(CautiousBatch, Instant)>, Vec<Waiting>) {
        let mut given_up = Vec::new();
        if !self.locked.is_empty() {
            self.locked.retain(|_, it| it.retry_at + FORGET_AFTER > now);
        }
        if self.next_at.is_none_or(|at| at > now) || self.running >= self.running_max {
            return (None, given_up);
        }
        let (mut batch, mut until) = (Vec::new(), now);
        let (mut taken, mut batch_max) = (BatchSize::default(), usize::MAX);
        let (mut flows, mut groups) = (HashSet::new(), HashSet::new());
        let mut next_at: Option<Instant> = None;
        let mut left = Vec::with_capacity(self.sends.len());
        for aside in std::mem::take(&mut self.sends) {
            let (flow, group) = (aside.send.flow(), aside.send.group());
            if now >= aside.until || !aside.send.caller.ticket.waits() {
                self.forget(&aside.send.append);
                given_up.push(aside.send);
                continue;
            }
            let pauses = suspects(&aside.send.append).filter_map(|it| self.locked.get(&it));
            let retry_at = pauses.map(|it| it.retry_at).max().filter(|at| *at > now);
            if let Some(at) = retry_at {
                let at = at.min(aside.until);
                next_at = Some(next_at.map_or(at, |it| it.min(at)));
            }
            let waits = retry_at.is_some()
                || flows.contains(&flow)
                || group.is_some_and(|it| groups.contains(&it))
                || in_flight.blocker(&aside.send.append).is_some();
            let fits =
                taken.sends < batch_max.min(aside.batch_max) && most.fits(&taken, &aside.send);
            if waits || !fits {
                if !waits {
                    next_at = Some(now);
                }
                flows.insert(flow);
                groups.extend(group);
                left.push(aside);
                continue;
            }
            if !aside.send.caller.ticket.start() {
                self.forget(&aside.send.append);
                given_up.push(aside.send);
                continue;
            }
            taken.add(&aside.send);
            batch_max = batch_max.min(aside.batch_max);
            until = aside.until;
            batch.push(aside.send);
        }
        self.sends = left;
        self.next_at = next_at;
        if batch.is_empty() {
            return (None, given_up);
        }
        self.running += 1;
        (Some((batch, until)), given_up)
    }
}

/// What may have a lock before it.
fn suspects(send: &Append) -> impl Iterator<Item = Locked> + '_ {
    let users = send.recipients.iter();
    let few = send.recipients.len() <= BLAMED_MAX;
    let users = users.take(if few { BLAMED_MAX } else { 0 });
    let group = send.group().map(Locked::Group);
    users.copied().map(Locked::User).chain(group)
}

fn less<K: Eq + std::hash::Hash>(counts: &mut Map<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
