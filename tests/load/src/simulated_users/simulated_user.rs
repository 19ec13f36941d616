//! One user on one device.

use std::collections::BTreeSet;

use crate::judge::{ReceiverId, StreamId};
use crate::net::ConnId;
use crate::test_account::TestAccount;

/// Stage of a user's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UserStage {
    /// The user has no connection.
    Away,
    /// The user connects, signs in, or syncs.
    Joining,
    /// The user is up to date and gets new entries.
    Live,
}

/// Simulated user.
#[derive(Debug)]
pub(super) struct SimulatedUser {
    pub(super) account: TestAccount,
    pub(super) ear: ReceiverId,
    pub(super) conn: Option<ConnId>,
    pub(super) stage: UserStage,
    /// Reason that the server gave for closing the connection.
    pub(super) close_reason: Option<String>,
    /// Seq up to which the user has every entry of its inbox.
    pub(super) upto: i64,
    /// Entries beyond, known by the answers to the user's own sends.
    ahead: BTreeSet<i64>,
    /// Streams that the user writes, in turn.
    pub(super) streams: Vec<StreamId>,
    next_stream_index: usize,
    /// Messages still to write.
    pub(super) left: u64,
    /// Slots of its unanswered sends.
    pub(super) in_flight: Vec<u32>,
}

impl SimulatedUser {
    pub(super) const fn new(account: TestAccount, ear: ReceiverId) -> Self {
        Self {
            account,
            ear,
            conn: None,
            stage: UserStage::Away,
            close_reason: None,
            upto: 0,
            ahead: BTreeSet::new(),
            streams: Vec::new(),
            next_stream_index: 0,
            left: 0,
            in_flight: Vec::new(),
        }
    }

    pub(super) fn leave(&mut self) {
        self.conn = None;
        self.close_reason = None;
        self.stage = UserStage::Away;
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
    pub(super) fn next_stream(&mut self) -> Option<StreamId> {
        self.left = self.left.checked_sub(1)?;
        let stream = self
            .streams
            .get(self.next_stream_index % self.streams.len().max(1))
            .copied();
        self.next_stream_index += 1;
        stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ahead_of_a_push_does_not_hide_it() {
        let account = TestAccount {
            user: 1,
            device: 1,
            token: String::new(),
        };
        let mut person = SimulatedUser::new(account, 0);
        person.has(2);
        assert_eq!(person.upto, 0);
        person.has(1);
        assert_eq!(person.upto, 2);
    }
}
