//! The room that a client follows: kept over connections, and resumed after the last message seen.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use gimlet_proto::pb;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::ClientError;

/// Largest number of messages that are remembered to recognise repeats; the server keeps 1,000 of a
/// room.
const MAX_REMEMBERED_MESSAGES: usize = 1_024;

/// Time without progress after which missing messages are given up: the room does not keep them.
const GAP: Duration = Duration::from_secs(10);

/// The channel for the answer to a subscription.
pub(crate) type SubscribeReply = oneshot::Sender<Result<(), ClientError>>;

/// The current or wanted subscription. Room 0 means no room.
#[derive(Debug, Default)]
pub(crate) struct RoomSubscription {
    pub(crate) id: i64,
    /// The first room seq wanted; 0 for live messages only.
    pub(crate) from: i64,
    /// The waiting caller, until the server has answered.
    pub(crate) reply: Option<SubscribeReply>,
    order: VecDeque<(i64, i64)>,
    known: BTreeSet<(i64, i64)>,
    /// The messages received above `from`.
    ahead: BTreeSet<i64>,
    /// Time since messages are missing between `from` and those in `ahead`.
    gap_since: Option<Instant>,
}

impl RoomSubscription {
    pub(crate) fn new(id: i64, from: i64, reply: SubscribeReply) -> Self {
        Self {
            id,
            from,
            reply: Some(reply),
            ..Self::default()
        }
    }

    /// Notes that the room is subscribed to from `from` on, so that missing messages may come now.
    pub(crate) fn resumed(&mut self) {
        self.gap_since = None;
    }

    /// Takes a message; returns false for a repeat. Live messages may overtake kept ones, and a
    /// room's numbers may start over, so a repeat is recognised by its seq and time, not by an
    /// order of seqs.
    pub(crate) fn is_news(&mut self, message: &pb::Message, now: Instant) -> bool {
        if message.receiver_id != self.id {
            return true;
        }
        let key = (message.seq, message.send_time);
        let is_new = self.known.insert(key);
        self.advance(message.seq, is_new, now);
        if !is_new {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > MAX_REMEMBERED_MESSAGES
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    /// Moves `from` over the messages received without a gap. A live message that overtook kept
    /// ones must not move it past them: they would be lost with the connection.
    fn advance(&mut self, seq: i64, is_new: bool, now: Instant) {
        let started_over = is_new && seq < self.from;
        if self.from == 0 || started_over {
            self.from = seq.saturating_add(1);
            self.ahead.clear();
            self.gap_since = None;
            return;
        }
        if seq < self.from {
            return;
        }
        let before = self.from;
        self.ahead.insert(seq);
        while self.ahead.remove(&self.from) {
            self.from = self.from.saturating_add(1);
        }
        let Some(last) = self.ahead.last().copied() else {
            self.gap_since = None;
            return;
        };
        if self.from > before {
            self.gap_since = None;
        }
        let since = *self.gap_since.get_or_insert(now);
        if now.duration_since(since) >= GAP || self.ahead.len() > MAX_REMEMBERED_MESSAGES {
            self.from = last.saturating_add(1);
            self.ahead.clear();
            self.gap_since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(from: i64) -> RoomSubscription {
        RoomSubscription {
            id: 3,
            from,
            ..RoomSubscription::default()
        }
    }

    fn message(seq: i64, send_time: i64) -> pb::Message {
        pb::Message {
            receiver_id: 3,
            seq,
            send_time,
            ..pb::Message::default()
        }
    }

    #[test]
    fn repeats_are_known_and_the_next_subscription_goes_on() {
        let (mut room, now) = (room(0), Instant::now());
        let mut is_news = |seq, at| (room.is_news(&message(seq, at), now), room.from);
        assert_eq!(is_news(9, 90), (true, 10));
        assert!(is_news(8, 80).0, "overtaken by 9");
        assert!(!is_news(9, 90).0);
        assert_eq!(is_news(10, 100), (true, 11));
        assert_eq!(is_news(1, 200), (true, 2), "the room started over");
        for seq in 0..5_000 {
            is_news(seq, seq);
        }
        assert_eq!(room.known.len(), MAX_REMEMBERED_MESSAGES);
    }

    /// The rest of the history was lost with the connection.
    #[test]
    fn a_live_message_that_overtakes_kept_ones_does_not_skip_them() {
        let (mut room, now) = (room(20), Instant::now());
        let mut take = |seq| {
            assert!(room.is_news(&message(seq, seq), now));
            room.from
        };
        assert_eq!(take(20), 21);
        assert_eq!(take(160), 21, "live");
        assert_eq!(take(21), 22);
        assert_eq!(take(161), 22, "live");
        // The connection is lost; the subscription goes on behind 21.
        for seq in 22..159 {
            assert_eq!(take(seq), seq + 1);
        }
        assert_eq!(take(159), 162);
    }

    #[test]
    fn messages_that_do_not_come_are_given_up() {
        let (mut room, now) = (room(20), Instant::now());
        assert!(room.is_news(&message(30, 30), now));
        assert!(room.is_news(&message(31, 31), now + GAP / 2));
        assert_eq!(room.from, 20);
        // A new subscription may bring them.
        room.resumed();
        assert!(room.is_news(&message(32, 32), now + 2 * GAP));
        assert_eq!(room.from, 20);
        assert!(room.is_news(&message(33, 33), now + 3 * GAP));
        assert_eq!(room.from, 34);
        assert!(room.ahead.is_empty());
    }

    #[test]
    fn messages_above_a_gap_are_bounded() {
        let (mut room, now) = (room(1), Instant::now());
        for seq in 2..10_000 {
            room.is_news(&message(seq, seq), now);
            assert!(room.ahead.len() <= MAX_REMEMBERED_MESSAGES);
        }
        assert!(room.from > 1);
    }
}
