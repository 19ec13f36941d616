//! Users of a flow: the streams that each sends in turn, their connections, and the next sender.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::account::Account;
use crate::judge::{EarId, Judge, StreamId};
use crate::net::{ConnId, Joined};
use crate::scenario::seats::Seats;

/// User on a connection.
#[derive(Debug)]
pub(in crate::scenario) struct Member {
    pub(in crate::scenario) account: Arc<Account>,
    pub(super) conn: ConnId,
    pub(in crate::scenario) ear: EarId,
    /// Streams that the user sends, in turn.
    pub(in crate::scenario) lanes: Vec<StreamId>,
    turn: usize,
    /// Sends that wait for the call before: by gRPC, a sender's calls could overtake each other.
    queue: VecDeque<(StreamId, u64)>,
    busy: bool,
}

impl Member {
    pub(in crate::scenario) fn new(account: Account, joined: Joined, judge: &mut Judge) -> Self {
        Self {
            account: Arc::new(account),
            conn: joined.conn,
            ear: judge.ear(joined.head),
            lanes: Vec::new(),
            turn: 0,
            queue: VecDeque::new(),
            busy: false,
        }
    }

    /// Returns the stream of the user's next message.
    pub(super) fn next_lane(&mut self) -> Option<StreamId> {
        let lane = self.lanes.get(self.turn % self.lanes.len().max(1)).copied();
        self.turn += usize::from(lane.is_some());
        lane
    }

    /// Returns true if the user may call now; otherwise the send, due at `at`, waits for the call
    /// before.
    pub(super) fn may_call(&mut self, stream: StreamId, at: u64) -> bool {
        if self.busy {
            self.queue.push_back((stream, at));
            return false;
        }
        self.busy = true;
        true
    }

    /// Ends the user's call; returns the send to call next.
    pub(super) fn next_call(&mut self) -> Option<(StreamId, u64)> {
        let next = self.queue.pop_front();
        self.busy = next.is_some();
        next
    }
}

/// All users, by index.
#[derive(Debug)]
pub(super) struct Members {
    all: Vec<Member>,
    seats: Seats,
    /// Indexes of the users who send, and the position of the next of them.
    senders: Vec<u32>,
    turn: usize,
}

impl Members {
    pub(super) fn new(all: Vec<Member>) -> Self {
        let mut seats = Seats::new();
        let mut senders = Vec::new();
        for (at, member) in all.iter().enumerate() {
            seats.sit(member.conn, at);
            if !member.lanes.is_empty() {
                senders.push(u32::try_from(at).unwrap_or(u32::MAX));
            }
        }
        Self {
            all,
            seats,
            senders,
            turn: 0,
        }
    }

    pub(super) fn get(&self, at: u32) -> Option<&Member> {
        self.all.get(at as usize)
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut Member> {
        self.all.get_mut(at as usize)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.all.iter()
    }

    /// Returns the user on this connection.
    pub(super) fn on(&self, conn: ConnId) -> Option<&Member> {
        self.all.get(self.seats.of(conn)?)
    }

    /// Returns the users who send.
    pub(super) fn senders(&self) -> &[u32] {
        &self.senders
    }

    /// Returns the user who sends next.
    pub(super) fn next_sender(&mut self) -> Option<u32> {
        let turn = self.turn % self.senders.len().max(1);
        self.turn = turn + 1;
        self.senders.get(turn).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(conn: ConnId, lanes: &[StreamId]) -> Member {
        let account = Account {
            user: 1,
            device: 1,
            token: String::new(),
        };
        let joined = Joined { conn, head: 0 };
        let mut member = Member::new(account, joined, &mut Judge::new(1));
        member.lanes.extend(lanes);
        member
    }

    #[test]
    fn who_has_lanes_sends_in_turn() {
        let all = vec![member(7, &[]), member(3, &[1, 2]), member(5, &[4])];
        let mut members = Members::new(all);
        assert_eq!(members.senders(), [1, 2]);
        let turns = [(); 3].map(|()| members.next_sender());
        assert_eq!(turns, [Some(1), Some(2), Some(1)]);
        assert_eq!(members.on(5).map(|it| it.lanes.len()), Some(1));
        assert!(members.on(4).is_none());
        let lanes = [(); 3].map(|()| members.get_mut(1).and_then(Member::next_lane));
        assert_eq!(lanes, [Some(1), Some(2), Some(1)]);
    }

    #[test]
    fn calls_of_a_sender_do_not_overtake_each_other() {
        let mut member = member(0, &[1]);
        assert!(member.may_call(1, 10));
        assert!(!member.may_call(1, 20));
        assert_eq!(member.next_call(), Some((1, 20)));
        assert!(!member.may_call(1, 30), "the second is called now");
        assert_eq!(member.next_call(), Some((1, 30)));
        assert_eq!(member.next_call(), None);
        assert!(member.may_call(1, 40));
    }
}
