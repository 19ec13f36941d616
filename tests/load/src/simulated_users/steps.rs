//! The steps of the simulated users towards their goal.

use gimlet_proto::pb::PackageType;

use super::SimulatedUsers;
use super::goal::UserGoal;
use super::simulated_user::{SimulatedUser, UserStage};
use crate::clock::SECOND;
use crate::net::{ClientNet, RawBody};

/// Sends in flight at which no further user of this process begins to write.
const MAX_SENDS_IN_FLIGHT: usize = 1_024;

impl SimulatedUsers {
    /// Works towards the goal; returns the time of the next turn, or `None` when the goal is
    /// reached.
    pub(super) fn strive(&mut self, net: &mut ClientNet, now: u64) -> Option<u64> {
        match self.goal {
            UserGoal::Live { from, to, at_once } => {
                self.next = self.next.max(from);
                while self.failed.is_none() && self.coming.joining() < at_once {
                    let new = (self.next < to).then_some(self.next);
                    let away = self.busy.next_away().or(new);
                    let Some(at) = away else { break };
                    self.next += usize::from(at == self.next);
                    self.come(net, at);
                }
                let on_their_way = self.coming.joining() > 0 || !self.busy.nobody_is_away();
                let all = self.next >= to && !on_their_way;
                (!all).then_some(now + SECOND)
            }
            UserGoal::Written {
                window,
                delivered: heard,
                ..
            } => {
                self.begin_writing(net, window);
                self.write_again(net, now);
                let idle = self.sends.in_flight() == 0 && self.busy.nobody_is_refused();
                let open = |it: &SimulatedUser| it.left > 0 && it.stage == UserStage::Live;
                let done = idle
                    && self.next >= self.len()
                    && !self.people.iter().any(open)
                    && (!heard || self.judge.complete());
                (!done).then_some(now + SECOND / 100)
            }
            UserGoal::Writing { each, answers } => {
                self.begin_writing(net, usize::try_from(each).unwrap_or(usize::MAX));
                self.write_again(net, now);
                (self.sends.answered() < answers).then_some(now + SECOND / 100)
            }
            UserGoal::Sat {
                until,
                heartbeat_nanos: beat,
            } => {
                self.send_due_heartbeats(net, now, beat);
                (now < until).then_some(until.min(now + SECOND / 20))
            }
            UserGoal::Gone => {
                (self.coming.live() + self.coming.joining() > 0).then_some(now + SECOND / 100)
            }
        }
    }

    /// Makes users begin to write, while the number of sends in flight is below
    /// [`MAX_SENDS_IN_FLIGHT`].
    fn begin_writing(&mut self, net: &mut ClientNet, window: usize) {
        while self.next < self.len() && self.sends.in_flight() < MAX_SENDS_IN_FLIGHT {
            for _ in 0..window {
                self.write(net, self.next);
            }
            self.next += 1;
        }
    }

    /// Makes users whose message was refused write another one, after their wait.
    fn write_again(&mut self, net: &mut ClientNet, now: u64) {
        for at in self.busy.take_due(now) {
            if let Some(person) = self.people.get_mut(at) {
                person.left += 1;
            }
            self.write(net, at);
        }
    }

    /// Sends the heartbeats that are due: they are spread evenly over the interval.
    fn send_due_heartbeats(&mut self, net: &mut ClientNet, now: u64, beat: u64) {
        let passed = u128::from(now.saturating_sub(self.begun));
        let due = passed * self.people.len() as u128 / u128::from(beat.max(1));
        while (self.next as u128) < due {
            let person = self.people.get(self.next % self.people.len().max(1));
            if let Some(conn) = person.and_then(|it| it.conn) {
                net.send(conn, PackageType::PtHeartbeat, 3, &RawBody(&[]));
            }
            self.next += 1;
        }
    }

    /// Describes the state of a goal without progress.
    pub(super) fn standstill(&self) -> String {
        let (live, all) = (self.coming.live(), self.len());
        let (joining, open) = (self.coming.joining(), self.sends.in_flight());
        format!(
            "no progress: {live} of {all} are live, {joining} are joining, {open} sends are \
             without an answer"
        )
    }
}
