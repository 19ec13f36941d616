//! What a crew is to reach, and what it does for it.

use gimlet_proto::pb::PackageType;
use serde::{Deserialize, Serialize};

use super::Crew;
use super::person::{Person, Way};
use crate::clock::SECOND;
use crate::net::{Net, Raw};

/// Sends under way at which no further user of this process begins to write.
const CROWD: usize = 1_024;

/// What is to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Goal {
    /// The users from `from` to `to` are live; so many at a time are on their way.
    Live {
        /// The first.
        from: usize,
        /// The one behind the last.
        to: usize,
        /// On their way at a time.
        at_once: usize,
    },
    /// Everybody who is live has written to each of its own so many messages, and all are answered
    /// and have come to those who are live.
    Written {
        /// Messages for each.
        each: u64,
        /// Unanswered sends of each user.
        window: usize,
        /// Whether they must also have come.
        heard: bool,
    },
    /// The same was begun, and so many sends are answered: no more is waited for.
    Writing {
        /// Messages for each, sent at once.
        each: u64,
        /// Answers waited for.
        answers: u64,
    },
    /// Time has passed, with a heartbeat of each now and then.
    Sat {
        /// Until then.
        until: u64,
        /// Nanoseconds from one heartbeat of a user to its next.
        beat: u64,
    },
    /// The server has closed every connection.
    Gone,
}

impl Goal {
    /// Whether a message may be refused by a busy server: where a user has one under way and writes
    /// it later, or nobody waits for all of them.
    pub(super) const fn bears_refusals(self) -> bool {
        matches!(
            self,
            Self::Written { window: 1, .. } | Self::Writing { .. } | Self::Gone
        )
    }
}

impl Crew {
    /// Does what the goal wants by now; says when it wants more, or that it is reached.
    pub(super) fn strive(&mut self, net: &mut Net, now: u64) -> Option<u64> {
        match self.goal {
            Goal::Live { from, to, at_once } => {
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
            Goal::Written { window, heard, .. } => {
                self.begin_writing(net, window);
                self.write_again(net, now);
                let idle = self.sends.under_way() == 0 && self.busy.nobody_is_refused();
                let open = |it: &Person| it.left > 0 && it.way == Way::Live;
                let done = idle
                    && self.next >= self.len()
                    && !self.people.iter().any(open)
                    && (!heard || self.judge.complete());
                (!done).then_some(now + SECOND / 100)
            }
            Goal::Writing { each, answers } => {
                self.begin_writing(net, usize::try_from(each).unwrap_or(usize::MAX));
                self.write_again(net, now);
                (self.sends.answered() < answers).then_some(now + SECOND / 100)
            }
            Goal::Sat { until, beat } => {
                self.beat(net, now, beat);
                (now < until).then_some(until.min(now + SECOND / 20))
            }
            Goal::Gone => {
                (self.coming.live() + self.coming.joining() > 0).then_some(now + SECOND / 100)
            }
        }
    }

    /// Everybody begins to write, as soon as not too many sends are under way.
    fn begin_writing(&mut self, net: &mut Net, window: usize) {
        while self.next < self.len() && self.sends.under_way() < CROWD {
            for _ in 0..window {
                self.write(net, self.next);
            }
            self.next += 1;
        }
    }

    /// Those whose message was refused write another one, when they have waited.
    fn write_again(&mut self, net: &mut Net, now: u64) {
        for at in self.busy.patient(now) {
            if let Some(person) = self.people.get_mut(at) {
                person.left += 1;
            }
            self.write(net, at);
        }
    }

    /// The heartbeats that are due: they are spread evenly over the time from one to the next.
    fn beat(&mut self, net: &mut Net, now: u64, beat: u64) {
        let passed = u128::from(now.saturating_sub(self.begun));
        let due = passed * self.people.len() as u128 / u128::from(beat.max(1));
        while (self.next as u128) < due {
            let person = self.people.get(self.next % self.people.len().max(1));
            if let Some(conn) = person.and_then(|it| it.conn) {
                net.send(conn, PackageType::PtHeartbeat, 3, &Raw(&[]));
            }
            self.next += 1;
        }
    }

    /// Why nothing goes on, in words.
    pub(super) fn standstill(&self) -> String {
        let (live, all) = (self.coming.live(), self.len());
        let (joining, open) = (self.coming.joining(), self.sends.under_way());
        format!(
            "nothing goes on: {live} of {all} are live, {joining} on their way, {open} sends \
             without an answer"
        )
    }
}
