//! The room that a client follows: kept over connections, and resumed after the last message seen.

use std::collections::{BTreeSet, VecDeque};

use gimlet_proto::pb;
use tokio::sync::oneshot;

use crate::error::Error;

/// Messages that are remembered to recognise repeats; the server keeps 1,000 of a room.
const REMEMBERED: usize = 1_024;

/// The channel for the answer to a subscription.
pub(crate) type Reply = oneshot::Sender<Result<(), Error>>;

/// The current or wanted subscription. Room 0 means no room.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) id: i64,
    /// The first room seq wanted; 0 for live messages only.
    pub(crate) from: i64,
    /// The waiting caller, until the server has answered.
    pub(crate) reply: Option<Reply>,
    order: VecDeque<(i64, i64)>,
    known: BTreeSet<(i64, i64)>,
}

impl Room {
    pub(crate) fn new(id: i64, from: i64, reply: Reply) -> Self {
        Self {
            id,
            from,
            reply: Some(reply),
            ..Self::default()
        }
    }

    /// Takes a message; returns false for a repeat. Live messages may overtake kept ones, and a
    /// room's numbers may start over, so a repeat is recognised by its seq and time, not by an
    /// order of seqs.
    pub(crate) fn is_news(&mut self, message: &pb::Message) -> bool {
        if message.receiver_id != self.id {
            return true;
        }
        let key = (message.seq, message.send_time);
        if !self.known.insert(key) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.from = message.seq.saturating_add(1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_known_and_the_next_subscription_goes_on() {
        let mut room = Room {
            id: 3,
            ..Room::default()
        };
        let message = |seq, send_time| pb::Message {
            receiver_id: 3,
            seq,
            send_time,
            ..pb::Message::default()
        };
        assert!(room.is_news(&message(9, 90)));
        assert!(room.is_news(&message(8, 80)), "overtaken by 9");
        assert!(!room.is_news(&message(9, 90)));
        assert!(room.is_news(&message(10, 100)));
        assert_eq!(room.from, 11);
        assert!(room.is_news(&message(1, 200)), "the room started over");
        assert_eq!(room.from, 2);
        for seq in 0..5_000 {
            room.is_news(&message(seq, seq));
        }
        assert_eq!(room.known.len(), REMEMBERED);
    }
}
