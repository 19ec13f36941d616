//! Deferred sends: sends that met a lock held by another node or session, kept apart so that all
//! other sends go on.
//!
//! A batch that met a lock stored nothing. Its sends are tried again in batches of half the size
//! each time, by appends that do not wait for locks, until each locked send is alone. Locked sends
//! are then retried with growing pauses until their senders give up. A send that touches a user or
//! group known to be locked is deferred at once, so that it does not block a batch of unrelated
//! sends.
//!
//! Order: no send overtakes a deferred send of its flow or its group. The list is in order, and a
//! step that leaves a send in it also leaves all later sends of its flow and group.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::id::{GroupId, UserId};
use crate::map::FastHashMap;
use crate::store::AppendRequest;

use super::in_flight::InFlightBatches;
use super::queued_send::{BatchSize, FlowKey, QueuedSend};

/// First and longest pause before a locked send is tried again.
const LOCK_RETRY_PAUSE_RANGE: (Duration, Duration) =
    (Duration::from_millis(25), Duration::from_millis(400));
/// Time without an attempt after which a user or group no longer counts as locked.
const FORGET_LOCK_AFTER: Duration = Duration::from_secs(2);
/// Number of recipients up to which a locked send marks its recipients as locked. A send with more
/// marks its group alone, so that one locked member does not defer the sends to all others.
const MAX_BLAMED_RECIPIENTS: usize = 2;

/// A deferred send.
#[derive(Debug)]
struct DeferredSend {
    send: QueuedSend,
    /// Time at which it is given up, even if its sender has stopped waiting.
    until: Instant,
    /// Maximum number of sends in the batch of its next attempt.
    batch_max: usize,
}

/// A user or a group that is known to be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum LockedKey {
    User(UserId),
    Group(GroupId),
}

#[derive(Clone, Copy, Debug)]
struct LockRetryPause {
    retry_at: Instant,
    next: Duration,
}

/// All deferred sends and the known locks.
#[derive(Debug)]
pub(super) struct DeferredSends {
    sends: Vec<DeferredSend>,
    locked: FastHashMap<LockedKey, LockRetryPause>,
    /// Flows and groups with deferred sends, in the list or in flight, and the number of those
    /// sends.
    flows: FastHashMap<FlowKey, usize>,
    groups: FastHashMap<GroupId, usize>,
    /// Batches of deferred sends in flight, and their maximum.
    running: usize,
    running_max: usize,
    /// Time of the next attempt; `None` if only the end of a batch can make one possible.
    next_at: Option<Instant>,
    give_up: Duration,
}

/// Deferred sends that are tried together, by an append that does not wait for locks.
pub(super) type NoWaitBatch = Vec<QueuedSend>;

impl DeferredSends {
    pub(super) fn new(concurrency: usize, give_up: Duration) -> Self {
        Self {
            sends: Vec::new(),
            locked: FastHashMap::default(),
            flows: FastHashMap::default(),
            groups: FastHashMap::default(),
            running: 0,
            // The other half of the slots stays free for sends that meet no lock.
            running_max: (concurrency / 2).max(1),
            next_at: None,
            give_up,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sends.len()
    }

    /// Returns whether nothing is deferred or in flight from here, and no lock is known.
    pub(super) fn is_idle(&self) -> bool {
        self.sends.is_empty() && self.flows.is_empty() && self.locked.is_empty()
    }

    /// Returns whether an earlier send of this flow or group is deferred.
    pub(super) fn holds(&self, flow: FlowKey, group: Option<GroupId>) -> bool {
        self.flows.contains_key(&flow) || group.is_some_and(|it| self.groups.contains_key(&it))
    }

    /// Returns whether the send touches a user or group that is known to be locked.
    pub(super) fn is_locked(&self, send: &QueuedSend) -> bool {
        !self.locked.is_empty() && suspects(&send.append).any(|it| self.locked.contains_key(&it))
    }

    /// Returns the time of the next attempt that does not depend on the end of a batch.
    pub(super) fn next_at(&self) -> Option<Instant> {
        (!self.sends.is_empty() && self.running < self.running_max)
            .then_some(self.next_at)
            .flatten()
    }

    /// Defers one send because it touches a known lock.
    pub(super) fn add(&mut self, send: QueuedSend, now: Instant) {
        self.note(&send.append);
        self.put(send, now + self.give_up, 1);
        self.next_at = Some(now);
    }

    fn note(&mut self, send: &AppendRequest) {
        *self.flows.entry(FlowKey::of(send)).or_default() += 1;
        if let Some(group) = send.group() {
            *self.groups.entry(group).or_default() += 1;
        }
    }

    /// Removes a send from the counts when it is answered or dropped.
    pub(super) fn forget(&mut self, send: &AppendRequest) {
        less(&mut self.flows, &FlowKey::of(send));
        if let Some(group) = send.group() {
            less(&mut self.groups, &group);
        }
    }

    fn put(&mut self, send: QueuedSend, until: Instant, batch_max: usize) {
        self.sends.push(DeferredSend {
            send,
            until,
            batch_max,
        });
    }

    /// Defers all sends of a batch that met a lock.
    pub(super) fn add_batch(&mut self, batch: Vec<QueuedSend>, now: Instant) {
        let batch_max = (batch.len() / 2).max(1);
        for send in batch {
            self.note(&send.append);
            self.put(send, now + self.give_up, batch_max);
        }
        self.next_at = Some(now);
    }

    /// Takes back a batch of deferred sends that met a lock again, to be split further. A send that
    /// was alone marks its users or its group as locked. The sends go to the front of the list,
    /// where they came from, so they keep their order.
    pub(super) fn give_back(&mut self, batch: Vec<QueuedSend>, until: Instant, now: Instant) {
        if let [alone] = batch.as_slice() {
            for suspect in suspects(&alone.append) {
                let pause = self
                    .locked
                    .get(&suspect)
                    .map_or(LOCK_RETRY_PAUSE_RANGE.0, |it| it.next);
                self.locked.insert(
                    suspect,
                    LockRetryPause {
                        retry_at: now + pause,
                        next: (pause * 2).min(LOCK_RETRY_PAUSE_RANGE.1),
                    },
                );
            }
        }
        self.running -= 1;
        let batch_max = (batch.len() / 2).max(1);
        let back = batch.into_iter().map(|send| DeferredSend {
            send,
            until,
            batch_max,
        });
        self.sends.splice(0..0, back);
        self.next_at = Some(now);
    }

    /// Removes a batch of deferred sends that ended without meeting a lock, and forgets its locks.
    pub(super) fn ended(&mut self, batch: &[AppendRequest]) {
        self.running -= 1;
        for send in batch {
            for suspect in suspects(send) {
                self.locked.remove(&suspect);
            }
            self.forget(send);
        }
    }

    /// Allows a new attempt, because a batch that the deferred sends may have waited for has ended.
    pub(super) fn look_again(&mut self, now: Instant) {
        if !self.sends.is_empty() {
            self.next_at = Some(now);
        }
    }

    /// Takes the next batch to be tried, with the time at which it is given up, and the sends that
    /// have expired or were withdrawn, which the caller answers.
    pub(super) fn take(
        &mut self,
        now: Instant,
        in_flight: &InFlightBatches,
        max: &BatchSize,
    ) -> (Option<(NoWaitBatch, Instant)>, Vec<QueuedSend>) {
        let mut given_up = Vec::new();
        if !self.locked.is_empty() {
            self.locked
                .retain(|_, it| it.retry_at + FORGET_LOCK_AFTER > now);
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
            if now >= aside.until || !aside.send.caller.completion.waits() {
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
                taken.sends < batch_max.min(aside.batch_max) && max.fits(&taken, &aside.send);
            if waits || !fits {
                if !waits {
                    next_at = Some(now);
                }
                // Remember what stays behind: later sends of the same flow or group must stay
                // behind it, in this pass as well.
                flows.insert(flow);
                groups.extend(group);
                left.push(aside);
                continue;
            }
            if !aside.send.caller.completion.start() {
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

/// Returns the users and the group whose lock the send may have met.
fn suspects(send: &AppendRequest) -> impl Iterator<Item = LockedKey> + '_ {
    let users = send.recipients.iter();
    let few = send.recipients.len() <= MAX_BLAMED_RECIPIENTS;
    let users = users.take(if few { MAX_BLAMED_RECIPIENTS } else { 0 });
    let group = send.group().map(LockedKey::Group);
    users.copied().map(LockedKey::User).chain(group)
}

fn less<K: Eq + std::hash::Hash>(counts: &mut FastHashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
