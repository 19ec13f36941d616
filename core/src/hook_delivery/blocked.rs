//! Events that must wait for earlier ones of their receiver: those under way, and those that failed.
//!
//! Only positions are kept of the events that wait; the events themselves are read again. Pure: the
//! caller passes the time.

use std::collections::{BTreeSet, HashMap};

use tokio::time::Instant;

use crate::message::MessageReceiver;
use crate::store::{OutboxPosition, OutboxRow};

/// Largest number of events that wait for others. When it is reached, the failing event with the
/// most events behind it is given up, because other receivers wait, too.
pub(super) const MAX_HELD: usize = 2_000;

/// A receiver whose first event failed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FailingReceiver {
    /// Attempts to deliver that event.
    pub(super) attempts: u32,
    /// Time of the next attempt.
    pub(super) retry_at: Instant,
    /// Set if its next failure is its last.
    pub(super) is_last_attempt: bool,
}

/// Treatment of an event that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowTreatment {
    /// It may be delivered with others.
    Deliver,
    /// It failed before and is due: it is tried alone.
    Try,
    /// It waits for an earlier event of its receiver.
    Hold,
}

/// The receivers that are blocked, and the events that wait for them.
#[derive(Debug, Default)]
pub(super) struct BlockedReceivers {
    /// Receivers of the events under way.
    busy: HashMap<MessageReceiver, usize>,
    failing: HashMap<MessageReceiver, FailingReceiver>,
    held: HashMap<MessageReceiver, Vec<OutboxPosition>>,
    held_count: usize,
    under_way: BTreeSet<OutboxPosition>,
}

impl BlockedReceivers {
    /// Returns the positions of all events that are under way or wait, ascending.
    pub(super) fn known(&self) -> Vec<OutboxPosition> {
        let held = self.held.values().flatten().copied();
        let mut known: Vec<_> = self.under_way.iter().copied().chain(held).collect();
        known.sort_unstable();
        known
    }

    /// Returns the treatment of an event of this receiver.
    pub(super) fn treatment(&self, receiver: MessageReceiver, now: Instant) -> RowTreatment {
        if self.busy.contains_key(&receiver) {
            return RowTreatment::Hold;
        }
        match self.failing.get(&receiver) {
            Some(failing) if failing.retry_at > now => RowTreatment::Hold,
            Some(_) => RowTreatment::Try,
            None => RowTreatment::Deliver,
        }
    }

    /// Returns `true` if no more events may wait.
    pub(super) const fn is_full(&self) -> bool {
        self.held_count >= MAX_HELD
    }

    /// Lets an event wait.
    pub(super) fn hold(&mut self, receiver: MessageReceiver, position: OutboxPosition) {
        self.held.entry(receiver).or_default().push(position);
        self.held_count += 1;
    }

    /// Marks the events of a batch as under way.
    pub(super) fn start(&mut self, rows: &[OutboxRow]) {
        for row in rows {
            self.under_way.insert(row.position);
            if let Some(event) = &row.event {
                *self.busy.entry(event.body.receiver()).or_default() += 1;
            }
        }
    }

    /// Marks the events of a batch as no longer under way. Events that waited for them are read
    /// again.
    pub(super) fn end(&mut self, rows: &[OutboxRow]) {
        for row in rows {
            self.under_way.remove(&row.position);
            let Some(event) = &row.event else { continue };
            let receiver = event.body.receiver();
            if let Some(left) = self.busy.get_mut(&receiver) {
                *left -= 1;
                if *left == 0 {
                    self.busy.remove(&receiver);
                    self.release(receiver);
                }
            }
        }
    }

    /// Blocks a receiver whose event failed by itself, and returns the attempts so far.
    pub(super) fn fail(&mut self, receiver: MessageReceiver, retry_at: Instant) -> u32 {
        let failing = self.failing.entry(receiver).or_insert(FailingReceiver {
            attempts: 0,
            retry_at,
            is_last_attempt: false,
        });
        failing.attempts = failing.attempts.saturating_add(1);
        failing.retry_at = retry_at;
        failing.attempts
    }

    /// Returns the state of a receiver whose event failed before.
    pub(super) fn failing(&self, receiver: MessageReceiver) -> Option<FailingReceiver> {
        self.failing.get(&receiver).copied()
    }

    /// Unblocks a receiver: its event was delivered, or given up.
    pub(super) fn succeed(&mut self, receiver: MessageReceiver) {
        if self.failing.remove(&receiver).is_some() {
            self.release(receiver);
        }
    }

    /// Makes the next attempt of all failing receivers due: the endpoint works again.
    pub(super) fn retry_all(&mut self, now: Instant) {
        let receivers: Vec<_> = self.failing.keys().copied().collect();
        for receiver in receivers {
            if let Some(failing) = self.failing.get_mut(&receiver) {
                failing.retry_at = failing.retry_at.min(now);
            }
            self.release(receiver);
        }
    }

    /// Lets the events of receivers whose next attempt is due be read again; returns `true` if there
    /// are such receivers.
    pub(super) fn release_due(&mut self, now: Instant) -> bool {
        let due = self.failing.iter().filter(|(_, it)| it.retry_at <= now);
        let due: Vec<_> = due.map(|(receiver, _)| *receiver).collect();
        for receiver in &due {
            if !self.busy.contains_key(receiver) {
                self.release(*receiver);
            }
        }
        !due.is_empty()
    }

    /// Forgets failing receivers that are due and have no event any more: an operator removed it.
    pub(super) fn forget_due(&mut self, now: Instant) {
        let busy = &self.busy;
        self.failing
            .retain(|receiver, it| it.retry_at > now || busy.contains_key(receiver));
    }

    /// Makes the next attempt of the failing receiver with the most waiting events its last one, and
    /// due. Returns `true` if there is such a receiver.
    pub(super) fn hurry_largest(&mut self, now: Instant) -> bool {
        let waiting = |receiver: &MessageReceiver| self.held.get(receiver).map_or(0, Vec::len);
        let failing = self.failing.keys().copied();
        let Some(largest) = failing.max_by_key(waiting) else {
            return false;
        };
        if let Some(failing) = self.failing.get_mut(&largest) {
            failing.is_last_attempt = true;
            failing.retry_at = failing.retry_at.min(now);
        }
        true
    }

    /// Returns the time of the next attempt of a failing receiver.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.failing.values().map(|it| it.retry_at).min()
    }

    /// Lets the waiting events of a receiver be read again.
    fn release(&mut self, receiver: MessageReceiver) {
        if let Some(released) = self.held.remove(&receiver) {
            self.held_count -= released.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::events::{EventBody, EventId, HookEvent};
    use crate::testkit::helpers::user;
    use crate::time::UnixTimestamp;

    fn row(position: u64, of: u64) -> OutboxRow {
        let event = HookEvent {
            id: EventId::generate(),
            at: UnixTimestamp(0),
            body: EventBody::Online { user: user(of) },
        };
        OutboxRow {
            position: OutboxPosition(position),
            event: Some(event),
        }
    }

    fn receiver(of: u64) -> MessageReceiver {
        MessageReceiver::User(user(of))
    }

    fn positions(blocked: &BlockedReceivers) -> Vec<u64> {
        blocked.known().into_iter().map(|it| it.0).collect()
    }

    #[test]
    fn events_wait_for_those_of_their_receiver_that_are_under_way() {
        let (now, mut blocked) = (Instant::now(), BlockedReceivers::default());
        let batch = [row(3, 1), row(5, 1)];
        blocked.start(&batch);
        assert_eq!(blocked.treatment(receiver(1), now), RowTreatment::Hold);
        assert_eq!(blocked.treatment(receiver(2), now), RowTreatment::Deliver);
        blocked.hold(receiver(1), OutboxPosition(4));
        assert_eq!(positions(&blocked), [3, 4, 5]);
        blocked.end(&batch);
        assert_eq!(positions(&blocked), [], "the one that waited is read again");
        assert_eq!(blocked.treatment(receiver(1), now), RowTreatment::Deliver);
    }

    #[test]
    fn a_failing_event_blocks_its_receiver_until_it_is_delivered() {
        let (now, mut blocked) = (Instant::now(), BlockedReceivers::default());
        let later = now + Duration::from_secs(9);
        assert_eq!(blocked.fail(receiver(1), later), 1);
        assert_eq!(blocked.next_retry(), Some(later));
        assert_eq!(blocked.treatment(receiver(1), now), RowTreatment::Hold);
        blocked.hold(receiver(1), OutboxPosition(1));
        assert!(!blocked.release_due(now));
        assert_eq!(positions(&blocked), [1]);
        assert!(blocked.release_due(later));
        assert_eq!(positions(&blocked), []);
        assert_eq!(blocked.treatment(receiver(1), later), RowTreatment::Try);
        assert_eq!(blocked.fail(receiver(1), later), 2);
        blocked.succeed(receiver(1));
        assert_eq!(blocked.treatment(receiver(1), now), RowTreatment::Deliver);
        assert_eq!(blocked.next_retry(), None);
    }

    #[test]
    fn when_too_many_wait_the_largest_failing_receiver_has_one_more_attempt() {
        let (now, mut blocked) = (Instant::now(), BlockedReceivers::default());
        let later = now + Duration::from_secs(9);
        blocked.fail(receiver(1), later);
        blocked.fail(receiver(2), later);
        for position in 0..MAX_HELD as u64 {
            let of = if position < 10 { 1 } else { 2 };
            blocked.hold(receiver(of), OutboxPosition(position));
        }
        assert!(blocked.is_full());
        assert!(blocked.hurry_largest(now));
        let hurried = blocked.failing(receiver(2)).unwrap();
        assert!(hurried.is_last_attempt && hurried.retry_at == now);
        assert!(!blocked.failing(receiver(1)).unwrap().is_last_attempt);
        assert!(blocked.release_due(now));
        assert_eq!(blocked.known().len(), 10);
        assert!(!blocked.is_full());
    }

    #[test]
    fn a_receiver_whose_event_is_gone_is_forgotten() {
        let (now, mut blocked) = (Instant::now(), BlockedReceivers::default());
        blocked.fail(receiver(1), now);
        blocked.fail(receiver(2), now + Duration::from_secs(1));
        blocked.forget_due(now);
        assert_eq!(blocked.failing(receiver(1)), None);
        assert!(blocked.failing(receiver(2)).is_some());
        blocked.retry_all(now);
        assert_eq!(blocked.treatment(receiver(2), now), RowTreatment::Try);
    }
}
