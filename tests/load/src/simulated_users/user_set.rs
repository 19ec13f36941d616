//! Users of a process: the connection of each, and the users it writes to.

use super::simulated_user::{SimulatedUser, UserStage};
use crate::connection_users::ConnectionUsers;
use crate::judge::{DeliveryJudge, StreamDestination};
use crate::net::ConnId;
use crate::test_account::TestAccount;

/// Users, by index.
#[derive(Debug)]
pub(super) struct UserSet {
    all: Vec<SimulatedUser>,
    connection_users: ConnectionUsers,
}

impl UserSet {
    /// Creates an empty set.
    pub(super) const fn new() -> Self {
        Self {
            all: Vec::new(),
            connection_users: ConnectionUsers::new(),
        }
    }

    /// Adds users with empty inboxes.
    pub(super) fn add(&mut self, judge: &mut DeliveryJudge, accounts: Vec<TestAccount>) {
        for account in accounts {
            let ear = judge.receiver(0);
            self.all.push(SimulatedUser::new(account, ear));
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&SimulatedUser> {
        self.all.get(at)
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut SimulatedUser> {
        self.all.get_mut(at)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &SimulatedUser> {
        self.all.iter()
    }

    /// Returns the user of this connection, unless it has another connection now.
    pub(super) fn on(&self, conn: ConnId) -> Option<usize> {
        let at = self.connection_users.of(conn)?;
        let person = self.all.get(at)?;
        (person.conn == Some(conn)).then_some(at)
    }

    /// Assigns a connection to a user, which joins by it. Returns true if there is such a user.
    pub(super) fn join(&mut self, at: usize, conn: ConnId) -> bool {
        let Some(person) = self.all.get_mut(at) else {
            return false;
        };
        person.conn = Some(conn);
        person.stage = UserStage::Joining;
        self.connection_users.sit(conn, at);
        true
    }

    /// Returns the first user without a connection.
    pub(super) fn first_away(&self) -> usize {
        let away = self.all.iter().position(|it| it.stage == UserStage::Away);
        away.unwrap_or(self.all.len())
    }

    /// Gives each user `each` messages to write to each of its peers.
    pub(super) fn set_left(&mut self, each: u64) {
        for person in &mut self.all {
            person.left = each * person.streams.len() as u64;
        }
    }

    /// Makes one user also write to another.
    pub(super) fn writes_to(&mut self, judge: &mut DeliveryJudge, from: usize, to: usize) {
        let Some((user, ear)) = self.all.get(to).map(|it| (it.account.user, it.ear)) else {
            return;
        };
        if let Some(person) = self.all.get_mut(from) {
            let stream = judge.stream(person.account.user, StreamDestination::User(user));
            judge.listen(ear, stream);
            person.streams.push(stream);
        }
    }

    /// Makes the users from `from` on write to the next of them, and those before to no user. A lone
    /// newcomer writes to the user before it, and a lone user to no one.
    pub(super) fn ring(&mut self, judge: &mut DeliveryJudge, from: usize) {
        for person in self.all.iter_mut().take(from) {
            person.streams.clear();
        }
        let count = self.len().saturating_sub(from);
        if count == 1 {
            if let Some(before) = from.checked_sub(1) {
                self.writes_to(judge, from, before);
            }
            return;
        }
        for at in 0..count {
            self.writes_to(judge, from + at, from + (at + 1) % count);
        }
    }

    /// Makes the first `writers` users write to the users from `from` on, and no other user write.
    pub(super) fn backlog(&mut self, judge: &mut DeliveryJudge, writers: usize, from: usize) {
        for person in &mut self.all {
            person.streams.clear();
        }
        for reader in from..self.len() {
            self.writes_to(judge, reader % writers.max(1), reader);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(users: std::ops::Range<i64>) -> Vec<TestAccount> {
        let account = |user| TestAccount {
            user,
            device: user,
            token: String::new(),
        };
        users.map(account).collect()
    }

    /// Returns the users that each user writes to.
    fn peers_of_each(people: &UserSet, judge: &DeliveryJudge) -> Vec<Vec<i64>> {
        let to = |it: &SimulatedUser| {
            it.streams
                .iter()
                .filter_map(|&lane| judge.to(lane))
                .collect()
        };
        let to = people.iter().map(to);
        to.map(|to: Vec<StreamDestination>| to.into_iter().map(StreamDestination::id).collect())
            .collect()
    }

    #[test]
    fn the_last_who_came_write_in_a_ring_or_are_written_to() {
        let (mut people, mut judge) = (UserSet::new(), DeliveryJudge::new(1));
        people.add(&mut judge, accounts(0..2));
        people.ring(&mut judge, 0);
        assert_eq!(peers_of_each(&people, &judge), [[1], [0]]);
        people.add(&mut judge, accounts(2..4));
        people.ring(&mut judge, 2);
        assert_eq!(
            peers_of_each(&people, &judge),
            [vec![], vec![], vec![3], vec![2]]
        );
        people.backlog(&mut judge, 2, 2);
        assert_eq!(
            peers_of_each(&people, &judge),
            [vec![2], vec![3], vec![], vec![]]
        );
    }

    #[test]
    fn a_lone_newcomer_does_not_write_to_itself() {
        let (mut people, mut judge) = (UserSet::new(), DeliveryJudge::new(1));
        people.add(&mut judge, accounts(0..1));
        people.ring(&mut judge, 0);
        assert_eq!(peers_of_each(&people, &judge), [[0; 0]]);
        people.add(&mut judge, accounts(1..2));
        people.ring(&mut judge, 1);
        assert_eq!(peers_of_each(&people, &judge), [vec![], vec![0]]);
    }

    #[test]
    fn a_connection_of_before_is_nobodys() {
        let (mut people, mut judge) = (UserSet::new(), DeliveryJudge::new(1));
        people.add(&mut judge, accounts(0..2));
        assert!(people.join(1, 4) && !people.join(2, 5));
        assert_eq!((people.on(4), people.first_away()), (Some(1), 0));
        assert!(people.join(1, 6) && people.join(0, 7));
        assert_eq!(
            [people.on(4), people.on(5), people.on(6)],
            [None, None, Some(1)]
        );
        assert_eq!(people.first_away(), 2);
    }
}
