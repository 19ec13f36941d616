//! One user on one device.

use std::collections::BTreeSet;

use crate::account::Account;
use crate::judge::{EarId, StreamId};
use crate::net::ConnId;

/// Stage of a user's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The user has no connection.
    Away,
    /// The user connects, signs in, or syncs.
    Joining,
    /// The user is up to date and gets new entries.
    Live,
}

/// Simulated user.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) account: Account,
    pub(super) ear: EarId,
    pub(super) conn: Option<ConnId>,
    pub(super) way: Way,
    /// Reason that the server gave for closing the connection.
    pub(super) told: Option<String>,
    /// Seq up to which the user has every entry of its inbox.
    pub(super) upto: i64,
    /// Entries beyond, known by the answers to the user's own sends.
    ahead: BTreeSet<i64>,
    /// Streams that the user writes, in turn.
    pub(super) lanes: Vec<StreamId>,
    turn: usize,
    /// Messages still to write.
    pub(super) left: u64,
    /// Slots of its unanswered sends.
    pub(super) under_way: Vec<u32>,
}

impl Person {
    pub(super) const fn new(account: Account, ear: EarId) -> Self {
        Self {
            account,
            ear,
            conn: None,
            way: Way::Away,
            told: None,
            upto: 0,
            ahead: BTreeSet::new(),
            lanes: Vec::new(),
            turn: 0,
            left: 0,
            under_way: Vec::new(),
        }
    }

    pub(super) fn leave(&mut self) {
        self.conn = None;
        self.told = None;
        self.way = Way::Away;
        self.left = 0;
    }

    /// Records that the user has this entry.
    pub(super) fn has(&mut self, seq: i64) {
        if seq > self.upto {
            self.ahead.insert(seq);
        }
        while self.ahead.remove(&(self.upto + 1)) {
            self.upto += 1;
        }
    }

    /// Returns the stream of the next message, if there is one to write.
    pub(super) fn next_lane(&mut self) -> Option<StreamId> {
        self.left = self.left.checked_sub(1)?;
        let lane = self.lanes.get(self.turn % self.lanes.len().max(1)).copied();
        self.turn += 1;
        lane
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ahead_of_a_push_does_not_hide_it() {
        let account = Account {
            user: 1,
            device: 1,
            token: String::new(),
        };
        let mut person = Person::new(account, 0);
        person.has(2);
        assert_eq!(person.upto, 0);
        person.has(1);
        assert_eq!(person.upto, 2);
    }
}
