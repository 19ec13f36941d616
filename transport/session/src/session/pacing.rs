//! Decides when a legacy TCP client gets its next frame.
//!
//! fim parses one frame per socket read. Two frames that arrive together leave it one frame behind
//! for the rest of the connection, so a frame must not be sent before the previous one was read.
//! The ack tells that: fim acks each push and each page that is not empty, and nothing else. A
//! client that does not ack gets the next frame after a wait, so that it never starves.
//!
//! Pure: the caller passes in the frames written, the packets received and the time.

use std::time::Duration;

use tokio::time::Instant;

/// Shortest wait for the ack of a client that has acked before. It covers the round trip of a
/// mobile network and the client's own delay.
const MIN_ACK_WAIT: Duration = Duration::from_secs(1);

/// Shortest wait for the ack of a client that has never acked, and perhaps never will.
const MIN_FIRST_ACK_WAIT: Duration = Duration::from_millis(500);

/// Longest wait for an ack. Between the limits, the wait follows the slowest recent round trip.
const MAX_ACK_WAIT: Duration = Duration::from_secs(2);

/// Wait for an ack, in round trips.
const ACK_WAIT_ROUND_TRIPS: u32 = 4;

/// Largest number of consecutive acks that may be missed. After that the client counts as one that
/// does not ack, until it acks again.
const MAX_MISSED_ACKS: u8 = 3;

/// The frames that a legacy client has to confirm before its next push.
#[derive(Debug)]
pub(super) struct FramePacing {
    /// Shortest pause after a frame, and the whole pause for a client that does not ack.
    min_wait: Duration,
    /// Time before which no push may be written; `None` if one may be written now.
    until: Option<Instant>,
    /// Time of the last frame.
    written: Instant,
    /// Seq that acks the last frame.
    last: i64,
    /// Frames that await an ack.
    unacked: u32,
    /// Consecutive acks that did not come in time.
    missed: u8,
    /// True if the client has ever acked.
    has_acked: bool,
    /// The slowest recent time between a frame and the client's reaction to it.
    round_trip: Duration,
    /// Request id of a heartbeat whose answer is delayed until a push is acked.
    pub(super) heartbeat: Option<i64>,
}

impl FramePacing {
    pub(super) fn new(min_wait: Duration, now: Instant) -> Self {
        Self {
            min_wait,
            until: None,
            written: now,
            last: 0,
            unacked: 0,
            missed: 0,
            has_acked: false,
            round_trip: Duration::ZERO,
            heartbeat: None,
        }
    }

    /// Returns the time before which no push may be written.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Returns whether a push has to wait.
    pub(super) fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Returns whether the wait is for the ack of a push or a page.
    pub(super) fn awaits_ack(&self, now: Instant) -> bool {
        self.unacked > 0 && self.holds(now)
    }

    /// Ends a wait whose time is over; returns whether there was one.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        if self.until.is_none_or(|until| now < until) {
            return false;
        }
        self.until = None;
        if self.unacked > 0 {
            self.missed = self.missed.saturating_add(1);
        }
        true
    }

    /// Records a push or a page, which the client acks with this seq.
    pub(super) fn wrote_acked(&mut self, seq: i64, now: Instant) {
        self.expire(now);
        self.written = now;
        self.last = seq;
        self.unacked = self.unacked.saturating_add(1);
        self.until = Some(now + self.ack_wait());
    }

    fn ack_wait(&self) -> Duration {
        if self.missed >= MAX_MISSED_ACKS {
            return self.min_wait;
        }
        let shortest = if self.has_acked {
            MIN_ACK_WAIT
        } else {
            MIN_FIRST_ACK_WAIT
        };
        (self.round_trip * ACK_WAIT_ROUND_TRIPS).clamp(shortest, MAX_ACK_WAIT)
    }

    /// Records an answer, which the client does not ack. Only a pause keeps the next push from
    /// catching up with it on the network, so the pause is as long as a round trip.
    pub(super) fn wrote_answer(&mut self, now: Instant) {
        self.expire(now);
        self.written = now;
        let wait = self.round_trip.clamp(self.min_wait, MIN_ACK_WAIT);
        self.until = self.until.max(Some(now + wait));
    }

    /// Records an ack. An ack with another seq may be a late one for an earlier frame.
    pub(super) fn record_ack(&mut self, seq: i64, now: Instant) {
        self.expire(now);
        self.missed = 0;
        self.has_acked = true;
        let last = seq == self.last || self.unacked <= 1;
        self.unacked = if last { 0 } else { self.unacked - 1 };
        if last {
            self.record_read(now);
        }
    }

    /// Records any other packet. It shows that an answer was read, but not that a push was: the
    /// packet may have been sent before the push arrived.
    pub(super) fn record_packet(&mut self, now: Instant) {
        if !self.awaits_ack(now) {
            self.record_read(now);
        }
    }

    /// Records that the client has read the last frame.
    fn record_read(&mut self, now: Instant) {
        let took = now - self.written;
        // A longer time means that the client had nothing to send, not that the network is slow.
        if self.until.take().is_some() && took <= MAX_ACK_WAIT {
            self.round_trip = took.max(self.round_trip / 8 * 7);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn start() -> (FramePacing, Instant) {
        let now = Instant::now();
        (FramePacing::new(50 * MS, now), now)
    }

    #[test]
    fn a_push_waits_for_the_ack_of_the_one_before_it() {
        let (mut pacing, now) = start();
        pacing.wrote_acked(7, now);
        assert!(pacing.holds(now + 499 * MS));
        pacing.record_packet(now + 10 * MS);
        assert!(pacing.holds(now + 10 * MS), "a heartbeat is not an ack");
        pacing.record_ack(7, now + 240 * MS);
        assert!(!pacing.holds(now + 240 * MS));
    }

    #[test]
    fn a_client_that_never_acks_gets_the_next_push_after_three_waits_of_half_a_second() {
        let (mut pacing, mut now) = start();
        for wait in [500, 500, 500, 50, 50, 50] {
            pacing.wrote_acked(1, now);
            assert_eq!(pacing.until(), Some(now + wait * MS));
            now += wait * MS;
            assert!(pacing.expire(now));
        }
        // After one ack, its acks are awaited again.
        pacing.wrote_acked(9, now);
        pacing.record_ack(9, now);
        pacing.wrote_acked(10, now);
        assert_eq!(pacing.until(), Some(now + 1_000 * MS));
    }

    #[test]
    fn a_late_ack_of_an_earlier_push_does_not_stand_for_the_last_one() {
        let (mut pacing, now) = start();
        pacing.wrote_acked(1, now);
        let late = now + 501 * MS;
        pacing.expire(late);
        pacing.wrote_acked(2, late);
        pacing.record_ack(1, late + MS);
        assert!(pacing.holds(late + MS), "the ack of 2 has not come");
        pacing.record_ack(2, late + 2 * MS);
        assert!(!pacing.holds(late + 2 * MS));
    }

    #[test]
    fn acks_with_an_unknown_seq_are_counted() {
        let (mut pacing, now) = start();
        pacing.wrote_acked(41, now);
        pacing.record_ack(0, now);
        assert!(!pacing.holds(now));
    }

    #[test]
    fn the_wait_follows_the_slowest_round_trip_up_to_two_seconds() {
        let (mut pacing, mut now) = start();
        for (took, wait) in [(10, 1_000), (400, 1_600), (900, 2_000), (10, 2_000)] {
            pacing.wrote_acked(1, now);
            now += took * MS;
            pacing.record_ack(1, now);
            pacing.wrote_acked(2, now);
            assert_eq!(pacing.until(), Some(now + wait * MS));
            pacing.record_ack(2, now);
        }
    }

    #[test]
    fn a_push_after_an_answer_waits_for_a_round_trip() {
        let (mut pacing, now) = start();
        pacing.wrote_answer(now);
        assert_eq!(pacing.until(), Some(now + 50 * MS));
        pacing.record_packet(now + 240 * MS);
        assert!(!pacing.holds(now + 240 * MS));
        pacing.wrote_answer(now);
        assert_eq!(pacing.until(), Some(now + 240 * MS));
        // A heartbeat minutes later is not a measurement.
        pacing.record_packet(now + 270_000 * MS);
        pacing.wrote_answer(now);
        assert_eq!(pacing.until(), Some(now + 240 * MS));
    }
}
