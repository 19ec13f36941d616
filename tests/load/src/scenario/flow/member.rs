//! Users of a flow: the streams that each sends in turn, their connections, and the next sender.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::connection_users::ConnectionUsers;
use crate::judge::{DeliveryJudge, ReceiverId, StreamId};
use crate::net::{ConnId, JoinedConnection};
use crate::test_account::TestAccount;

/// User on a connection.
#[derive(Debug)]
pub(in crate::scenario) struct FlowMember {
    pub(in crate::scenario) account: Arc<TestAccount>,
    pub(super) conn: ConnId,
    pub(in crate::scenario) ear: ReceiverId,
    /// Streams that the user sends, in turn.
    pub(in crate::scenario) streams: Vec<StreamId>,
    next_stream_index: usize,
    /// Sends that wait for the call before: by gRPC, a sender's calls could overtake each other.
    queue: VecDeque<(StreamId, u64)>,
    busy: bool,
}

impl FlowMember {
    pub(in crate::scenario) fn new(
        account: TestAccount,
        joined: JoinedConnection,
        judge: &mut DeliveryJudge,
    ) -> Self {
        Self {
            account: Arc::new(account),
            conn: joined.conn,
            ear: judge.receiver(joined.head),
            streams: Vec::new(),
            next_stream_index: 0,
            queue: VecDeque::new(),
            busy: false,
        }
    }

    /// Returns the stream of the user's next message.
    pub(super) fn next_stream(&mut self) -> Option<StreamId> {
        let stream = self
            .streams
            .get(self.next_stream_index % self.streams.len().max(1))
            .copied();
        self.next_stream_index += usize::from(stream.is_some());
        stream
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
pub(super) struct FlowMembers {
    all: Vec<FlowMember>,
    connection_users: ConnectionUsers,
    /// Indexes of the users who send, and the position of the next of them.
    senders: Vec<u32>,
    next_sender_index: usize,
}

impl FlowMembers {
    pub(super) fn new(all: Vec<FlowMember>) -> Self {
        let mut seats = ConnectionUsers::new();
        let mut senders = Vec::new();
        for (at, member) in all.iter().enumerate() {
            seats.sit(member.conn, at);
            if !member.streams.is_empty() {
                senders.push(u32::try_from(at).unwrap_or(u32::MAX));
            }
        }
        Self {
            all,
            connection_users: seats,
            senders,
            next_sender_index: 0,
        }
    }

    pub(super) fn get(&self, at: u32) -> Option<&FlowMember> {
        self.all.get(at as usize)
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut FlowMember> {
        self.all.get_mut(at as usize)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &FlowMember> {
        self.all.iter()
    }

    /// Returns the user on this connection.
    pub(super) fn on(&self, conn: ConnId) -> Option<&FlowMember> {
        self.all.get(self.connection_users.of(conn)?)
    }

    /// Returns the users who send.
    pub(super) fn senders(&self) -> &[u32] {
        &self.senders
    }

    /// Returns the user who sends next.
    pub(super) fn next_sender(&mut self) -> Option<u32> {
        let turn = self.next_sender_index % self.senders.len().max(1);
        self.next_sender_index = turn + 1;
        self.senders.get(turn).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(conn: ConnId, lanes: &[StreamId]) -> FlowMember {
        let account = TestAccount {
            user: 1,
            device: 1,
            token: String::new(),
        };
        let joined = JoinedConnection { conn, head: 0 };
        let mut member = FlowMember::new(account, joined, &mut DeliveryJudge::new(1));
        member.streams.extend(lanes);
        member
    }

    #[test]
    fn members_with_streams_send_in_turn() {
        let all = vec![member(7, &[]), member(3, &[1, 2]), member(5, &[4])];
        let mut members = FlowMembers::new(all);
        assert_eq!(members.senders(), [1, 2]);
        let turns = [(); 3].map(|()| members.next_sender());
        assert_eq!(turns, [Some(1), Some(2), Some(1)]);
        assert_eq!(members.on(5).map(|it| it.streams.len()), Some(1));
        assert!(members.on(4).is_none());
        let lanes = [(); 3].map(|()| members.get_mut(1).and_then(FlowMember::next_stream));
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
