//! Simulated users who connect, stay, write to each other, disconnect and reconnect, and remember
//! their place in the inbox. Serves the scenarios about connections: `idle`, `storm`, `sync`.
//!
//! A user keeps the seq up to which it has its inbox, as a client does, and resumes from there, so
//! the judge gets each entry once. The actor runs for one [`UserGoal`] at a time, until it is
//! reached.

mod busy_retries;
mod goal;
mod join_progress;
mod sends;
mod simulated_user;
mod steps;
#[cfg(test)]
mod tests;
mod user_processes;
mod user_set;

use std::io;

use gimlet_proto::pb::{self, PackageType};
use prost::Message as _;

use crate::clock::{self, SECOND};
use crate::judge::{DeliveryJudge, FindingKind, JudgeFindings, PushedMessage};
use crate::latency::LatencySummary;
use crate::net::{
    AckBody, ClientNet, ConnId, ConnectionActor, RawBody, ServerPacket, drive, page, read_push,
    sign_in_body,
};
use crate::test_account::TestAccount;
use busy_retries::{BusyRetries, UNAVAILABLE};
use join_progress::JoinProgress;
use sends::{AnswerOutcome, UserSends};
use simulated_user::UserStage;
use user_set::UserSet;

pub(crate) use goal::UserGoal;
pub use user_processes::obey;
pub(crate) use user_processes::{JoinFigures, UserProcesses, bare_connects};

/// Nanoseconds without any event after which a goal has failed.
const STUCK: u64 = 30 * SECOND;

/// Simulated users of one process.
#[derive(Debug)]
pub(crate) struct SimulatedUsers {
    people: UserSet,
    judge: DeliveryJudge,
    protocol: u32,
    goal: UserGoal,
    /// Time at which the goal was set, and time of the last event.
    begun: u64,
    moved: u64,
    /// Index of the next user to begin with.
    next: usize,
    coming: JoinProgress,
    busy: BusyRetries,
    sends: UserSends,
    /// Heartbeats answered.
    beats: u64,
    today: i64,
    failed: Option<String>,
}

impl SimulatedUsers {
    /// Creates users with empty inboxes.
    pub(crate) fn new(accounts: Vec<TestAccount>, protocol: u32) -> Self {
        let mut users = Self::empty(protocol);
        users.add(accounts);
        users
    }

    fn empty(protocol: u32) -> Self {
        Self {
            people: UserSet::new(),
            judge: DeliveryJudge::new(rand::random()),
            protocol,
            goal: UserGoal::Gone,
            begun: 0,
            moved: 0,
            next: 0,
            coming: JoinProgress::default(),
            busy: BusyRetries::default(),
            sends: UserSends::new(),
            beats: 0,
            today: clock::today(),
            failed: None,
        }
    }

    /// Adds users with empty inboxes.
    fn add(&mut self, accounts: Vec<TestAccount>) {
        self.people.add(&mut self.judge, accounts);
    }

    /// Returns the number of users.
    pub(crate) const fn len(&self) -> usize {
        self.people.len()
    }

    /// Makes one user also write to another.
    pub(crate) fn writes_to(&mut self, from: usize, to: usize) {
        self.people.writes_to(&mut self.judge, from, to);
    }

    /// Runs until the goal is reached; returns the nanoseconds it took.
    pub(crate) fn reach(&mut self, net: &mut ClientNet, goal: UserGoal) -> io::Result<u64> {
        self.begun = clock::now();
        self.moved = self.begun;
        self.goal = goal;
        self.next = 0;
        self.busy.begin();
        self.sends.begin();
        self.today = clock::today();
        if let UserGoal::Live { .. } = goal {
            self.coming.begin(self.begun);
        }
        if let UserGoal::Written { each, .. } | UserGoal::Writing { each, .. } = goal {
            self.people.set_left(each);
        }
        drive(net, self)?;
        match self.failed.take() {
            Some(why) => Err(io::Error::other(why)),
            None => Ok(clock::now() - self.begun),
        }
    }

    /// Closes all connections without notice; the outcome of unanswered sends is unknown.
    fn disconnect_all(&mut self, net: &mut ClientNet) {
        for at in 0..self.len() {
            if let Some(conn) = self.people.get(at).and_then(|person| person.conn) {
                net.close(conn);
                self.left(at);
            }
        }
    }

    /// Returns the number of messages that SYNC brought since the last [`UserGoal::Live`] was set.
    pub(crate) const fn synced(&self) -> u64 {
        self.coming.synced()
    }

    /// Summarises the time that each user took to be live, in the last join.
    pub(crate) fn times(&self) -> LatencySummary {
        self.coming.times()
    }

    /// Ends the run; returns the findings.
    pub(crate) fn verdict(self) -> JudgeFindings {
        self.judge.verdict()
    }

    fn is_joining(&self, at: usize) -> bool {
        self.people
            .get(at)
            .is_some_and(|it| it.stage == UserStage::Joining)
    }

    /// Handles the loss of a user's connection.
    fn left(&mut self, at: usize) {
        if let Some(person) = self.people.get_mut(at) {
            self.coming.leaves(person.stage);
            person.leave();
            self.sends.lose(&mut self.judge, person);
        }
    }

    /// Handles a rejection by a busy server: the user disconnects and tries again, as a client
    /// does.
    fn retry_later(&mut self, net: &mut ClientNet, at: usize, id: ConnId) {
        net.close(id);
        self.left(at);
        if let Err(why) = self.busy.record_rejection(at, self.people.len()) {
            self.fail(why);
        }
    }

    /// Fails the goal; the first reason is kept.
    fn fail(&mut self, why: impl Into<String>) {
        self.failed.get_or_insert_with(|| why.into());
    }

    /// Connects the user.
    fn come(&mut self, net: &mut ClientNet, at: usize) {
        match net.connect() {
            Ok(conn) => {
                if self.people.join(at, conn) {
                    self.coming.connects();
                }
            }
            Err(error) => self.fail(format!("connecting: {error}")),
        }
    }

    /// Sends the user's next message, if there is one to write.
    fn write(&mut self, net: &mut ClientNet, at: usize) {
        if let Some(person) = self.people.get_mut(at) {
            self.sends.write(net, &mut self.judge, person, self.today);
        }
    }

    /// Handles the answer to a send.
    fn settle(&mut self, net: &mut ClientNet, at: usize, packet: &ServerPacket<'_>) {
        let Some(person) = self.people.get_mut(at) else {
            return;
        };
        let Some(end) = self.sends.settle(&mut self.judge, person, packet) else {
            return;
        };
        if end == AnswerOutcome::Misdirected {
            return self.fail("the answer to another user's send came");
        }
        if end == AnswerOutcome::Refused {
            if packet.code == UNAVAILABLE && self.goal.bears_refusals() {
                let people = self.people.len();
                if let Err(why) = self.busy.refuse(at, clock::now(), people) {
                    self.fail(why);
                }
                return;
            }
            self.fail(format!("a send was refused: {}", packet.refusal()));
        }
        if let UserGoal::Written { .. } = self.goal {
            self.write(net, at);
        }
    }

    /// Handles an entry of the inbox. The user has its own entries by their answers.
    fn entry(&mut self, at: usize, pushed: &PushedMessage<'_>) {
        if let Some(person) = self.people.get_mut(at) {
            person.has(pushed.seq);
            if pushed.sender != person.account.user {
                self.judge.observe_push(person.ear, pushed);
            }
        }
    }

    fn sync(&mut self, net: &mut ClientNet, at: usize, id: ConnId) {
        if let Some(person) = self.people.get(at) {
            let body = pb::SyncInput { seq: person.upto }.encode_to_vec();
            net.send(id, PackageType::PtSync, 2, &RawBody(&body));
        }
    }

    fn page(&mut self, net: &mut ClientNet, at: usize, id: ConnId, packet: &ServerPacket<'_>) {
        let Some((messages, more)) = page(packet.data) else {
            self.fail("the answer to SYNC is not a page");
            return;
        };
        self.coming.brought(messages.len());
        for message in &messages {
            self.entry(at, message);
        }
        if more {
            return self.sync(net, at, id);
        }
        if let Some(last) = messages.last() {
            self.ack(net, id, last.seq);
        }
        let now = clock::now();
        if let Some(person) = self.people.get_mut(at)
            && person.stage == UserStage::Joining
        {
            person.stage = UserStage::Live;
            self.coming.arrives(now);
        }
    }

    fn ack(&self, net: &mut ClientNet, id: ConnId, seq: i64) {
        net.send(
            id,
            PackageType::PtMessage,
            0,
            &AckBody {
                seq,
                at: self.today,
            },
        );
    }
}

impl ConnectionActor for SimulatedUsers {
    fn opened(&mut self, net: &mut ClientNet, id: ConnId) {
        if let Some(person) = self.people.on(id).and_then(|at| self.people.get(at)) {
            let body = sign_in_body(&person.account, self.protocol);
            net.send(id, PackageType::PtSignIn, 1, &RawBody(&body));
        }
    }

    fn packet(&mut self, net: &mut ClientNet, id: ConnId, packet: &ServerPacket<'_>) {
        let Some(at) = self.people.on(id) else { return };
        self.moved = clock::now();
        match PackageType::try_from(packet.kind) {
            Ok(PackageType::PtMessage) => match read_push(packet.data) {
                Some(pushed) => {
                    self.entry(at, &pushed);
                    self.ack(net, id, pushed.seq);
                }
                None => self
                    .judge
                    .note(FindingKind::Damaged, || "a push without a message".into()),
            },
            Ok(PackageType::PtSend) => self.settle(net, at, packet),
            Ok(PackageType::PtClose) => {
                if let Some(person) = self.people.get_mut(at) {
                    person.close_reason = Some(packet.refusal());
                }
            }
            // The order of these arms matters: a busy server may reject a joining user, any other
            // error code fails the goal, and only then are answers read by their type.
            _ if packet.code == UNAVAILABLE && self.is_joining(at) => self.retry_later(net, at, id),
            _ if packet.code != 0 => self.fail(format!("request refused: {}", packet.refusal())),
            Ok(PackageType::PtSignIn) => self.sync(net, at, id),
            Ok(PackageType::PtSync) => self.page(net, at, id, packet),
            Ok(PackageType::PtHeartbeat) => self.beats += 1,
            _ => {}
        }
    }

    fn closed(&mut self, _net: &mut ClientNet, id: ConnId, why: &str) {
        self.moved = clock::now();
        let Some(at) = self.people.on(id) else { return };
        let told = self
            .people
            .get_mut(at)
            .and_then(|it| it.close_reason.take());
        let told = told.map_or_else(String::new, |it| format!(", after the server said {it}"));
        let why = format!("{why}{told}");
        self.left(at);
        if self.goal != UserGoal::Gone {
            self.judge.note(FindingKind::Connection, || {
                format!("connection {id} was lost: {why}")
            });
            self.fail(format!("a connection was lost: {why}"));
        }
    }

    fn tick(&mut self, net: &mut ClientNet, now: u64) -> Option<u64> {
        self.today = clock::today();
        if self.failed.is_some() {
            return None;
        }
        // Users that only stay connected may see no event for longer than `STUCK`.
        if !matches!(self.goal, UserGoal::Sat { .. }) && now.saturating_sub(self.moved) > STUCK {
            self.fail(self.standstill());
            return None;
        }
        self.strive(net, now)
    }
}
