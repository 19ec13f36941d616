//! Simulated users who connect, stay, write to each other, disconnect and reconnect, and remember
//! their place in the inbox. Serves the scenarios about connections: `idle`, `storm`, `sync`.
//!
//! A user keeps the seq up to which it has its inbox, as a client does, and resumes from there, so
//! the judge gets each entry once. The actor runs for one [`Goal`] at a time, until it is reached.

mod busy;
mod coming;
mod goal;
mod parts;
mod people;
mod person;
mod sends;
#[cfg(test)]
mod tests;

use std::io;

use gimlet_proto::pb::{self, PackageType};
use prost::Message as _;

use crate::account::Account;
use crate::clock::{self, SECOND};
use crate::judge::{Finding, Findings, Judge};
use crate::latency::Summary;
use crate::net::{Ack, Actor, ConnId, Net, Packet, Pushed, Raw, drive, page, sign_in_body};
use busy::{Busy, UNAVAILABLE};
use coming::Coming;
use people::People;
use person::Way;
use sends::{End, Sends};

pub(crate) use goal::Goal;
pub use parts::obey;
pub(crate) use parts::{AT_ONCE, Came, Crews};
pub(crate) use parts::{bare_connects, processes, split};

/// Nanoseconds without any event after which a goal has failed.
const STUCK: u64 = 30 * SECOND;

/// Simulated users of one process.
#[derive(Debug)]
pub(super) struct Crew {
    people: People,
    judge: Judge,
    protocol: u32,
    goal: Goal,
    /// Time at which the goal was set, and time of the last event.
    begun: u64,
    moved: u64,
    /// Index of the next user to begin with.
    next: usize,
    coming: Coming,
    busy: Busy,
    sends: Sends,
    /// Heartbeats answered.
    beats: u64,
    today: i64,
    failed: Option<String>,
}

impl Crew {
    /// Creates users with empty inboxes.
    pub(super) fn new(accounts: Vec<Account>, protocol: u32) -> Self {
        let mut crew = Self::empty(protocol);
        crew.add(accounts);
        crew
    }

    fn empty(protocol: u32) -> Self {
        Self {
            people: People::new(),
            judge: Judge::new(rand::random()),
            protocol,
            goal: Goal::Gone,
            begun: 0,
            moved: 0,
            next: 0,
            coming: Coming::default(),
            busy: Busy::default(),
            sends: Sends::new(),
            beats: 0,
            today: clock::today(),
            failed: None,
        }
    }

    /// Adds users with empty inboxes.
    fn add(&mut self, accounts: Vec<Account>) {
        self.people.add(&mut self.judge, accounts);
    }

    /// Returns the number of users.
    pub(super) const fn len(&self) -> usize {
        self.people.len()
    }

    /// Makes one user also write to another.
    pub(super) fn writes_to(&mut self, from: usize, to: usize) {
        self.people.writes_to(&mut self.judge, from, to);
    }

    /// Runs until the goal is reached; returns the nanoseconds it took.
    pub(super) fn reach(&mut self, net: &mut Net, goal: Goal) -> io::Result<u64> {
        self.begun = clock::now();
        self.moved = self.begun;
        self.goal = goal;
        self.next = 0;
        self.busy.begin();
        self.sends.begin();
        self.today = clock::today();
        if let Goal::Live { .. } = goal {
            self.coming.begin(self.begun);
        }
        if let Goal::Written { each, .. } | Goal::Writing { each, .. } = goal {
            self.people.set_left(each);
        }
        drive(net, self)?;
        match self.failed.take() {
            Some(why) => Err(io::Error::other(why)),
            None => Ok(clock::now() - self.begun),
        }
    }

    /// Closes all connections without notice; the outcome of unanswered sends is unknown.
    fn cut(&mut self, net: &mut Net) {
        for at in 0..self.len() {
            if let Some(conn) = self.people.get(at).and_then(|person| person.conn) {
                net.close(conn);
                self.left(at);
            }
        }
    }

    /// Returns the number of messages that SYNC brought since the last [`Goal::Live`] was set.
    pub(super) const fn synced(&self) -> u64 {
        self.coming.synced()
    }

    /// Summarises the time that each user took to be live, in the last join.
    pub(super) fn times(&self) -> Summary {
        self.coming.times()
    }

    /// Ends the run; returns the findings.
    pub(super) fn verdict(self) -> Findings {
        self.judge.verdict()
    }

    fn is_joining(&self, at: usize) -> bool {
        self.people.get(at).is_some_and(|it| it.way == Way::Joining)
    }

    /// Handles the loss of a user's connection.
    fn left(&mut self, at: usize) {
        if let Some(person) = self.people.get_mut(at) {
            self.coming.leaves(person.way);
            person.leave();
            self.sends.lose(&mut self.judge, person);
        }
    }

    /// Handles a rejection by a busy server: the user disconnects and tries again, as a client
    /// does.
    fn turn_away(&mut self, net: &mut Net, at: usize, id: ConnId) {
        net.close(id);
        self.left(at);
        if let Err(why) = self.busy.turn_away(at, self.people.len()) {
            self.fail(why);
        }
    }

    /// Fails the goal; the first reason is kept.
    fn fail(&mut self, why: impl Into<String>) {
        self.failed.get_or_insert_with(|| why.into());
    }

    /// Connects the user.
    fn come(&mut self, net: &mut Net, at: usize) {
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
    fn write(&mut self, net: &mut Net, at: usize) {
        if let Some(person) = self.people.get_mut(at) {
            self.sends.write(net, &mut self.judge, person, self.today);
        }
    }

    /// Handles the answer to a send.
    fn settle(&mut self, net: &mut Net, at: usize, packet: &Packet<'_>) {
        let Some(person) = self.people.get_mut(at) else {
            return;
        };
        let Some(end) = self.sends.settle(&mut self.judge, person, packet) else {
            return;
        };
        if end == End::Misdirected {
            return self.fail("the answer to another user's send came");
        }
        if end == End::Refused {
            if packet.code == UNAVAILABLE && self.goal.bears_refusals() {
                let people = self.people.len();
                if let Err(why) = self.busy.refuse(at, clock::now(), people) {
                    self.fail(why);
                }
                return;
            }
            self.fail(format!("a send was refused: {}", packet.refusal()));
        }
        if let Goal::Written { .. } = self.goal {
            self.write(net, at);
        }
    }

    /// Handles an entry of the inbox. The user has its own entries by their answers.
    fn entry(&mut self, at: usize, pushed: &Pushed<'_>) {
        if let Some(person) = self.people.get_mut(at) {
            person.has(pushed.seq);
            if pushed.sender != person.account.user {
                self.judge.heard(person.ear, pushed);
            }
        }
    }

    fn sync(&mut self, net: &mut Net, at: usize, id: ConnId) {
        if let Some(person) = self.people.get(at) {
            let body = pb::SyncInput { seq: person.upto }.encode_to_vec();
            net.send(id, PackageType::PtSync, 2, &Raw(&body));
        }
    }

    fn page(&mut self, net: &mut Net, at: usize, id: ConnId, packet: &Packet<'_>) {
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
            && person.way == Way::Joining
        {
            person.way = Way::Live;
            self.coming.arrives(now);
        }
    }

    fn ack(&self, net: &mut Net, id: ConnId, seq: i64) {
        net.send(
            id,
            PackageType::PtMessage,
            0,
            &Ack {
                seq,
                at: self.today,
            },
        );
    }
}

impl Actor for Crew {
    fn opened(&mut self, net: &mut Net, id: ConnId) {
        if let Some(person) = self.people.on(id).and_then(|at| self.people.get(at)) {
            let body = sign_in_body(&person.account, self.protocol);
            net.send(id, PackageType::PtSignIn, 1, &Raw(&body));
        }
    }

    fn packet(&mut self, net: &mut Net, id: ConnId, packet: &Packet<'_>) {
        let Some(at) = self.people.on(id) else { return };
        self.moved = clock::now();
        match PackageType::try_from(packet.kind) {
            Ok(PackageType::PtMessage) => match Pushed::read(packet.data) {
                Some(pushed) => {
                    self.entry(at, &pushed);
                    self.ack(net, id, pushed.seq);
                }
                None => self
                    .judge
                    .note(Finding::Damaged, || "a push without a message".into()),
            },
            Ok(PackageType::PtSend) => self.settle(net, at, packet),
            Ok(PackageType::PtClose) => {
                if let Some(person) = self.people.get_mut(at) {
                    person.told = Some(packet.refusal());
                }
            }
            // The order of these arms matters: a busy server may reject a joining user, any other
            // error code fails the goal, and only then are answers read by their type.
            _ if packet.code == UNAVAILABLE && self.is_joining(at) => self.turn_away(net, at, id),
            _ if packet.code != 0 => self.fail(format!("request refused: {}", packet.refusal())),
            Ok(PackageType::PtSignIn) => self.sync(net, at, id),
            Ok(PackageType::PtSync) => self.page(net, at, id, packet),
            Ok(PackageType::PtHeartbeat) => self.beats += 1,
            _ => {}
        }
    }

    fn closed(&mut self, _net: &mut Net, id: ConnId, why: &str) {
        self.moved = clock::now();
        let Some(at) = self.people.on(id) else { return };
        let told = self.people.get_mut(at).and_then(|it| it.told.take());
        let told = told.map_or_else(String::new, |it| format!(", after the server said {it}"));
        let why = format!("{why}{told}");
        self.left(at);
        if self.goal != Goal::Gone {
            self.judge.note(Finding::Connection, || {
                format!("connection {id} was lost: {why}")
            });
            self.fail(format!("a connection was lost: {why}"));
        }
    }

    fn turn(&mut self, net: &mut Net, now: u64) -> Option<u64> {
        self.today = clock::today();
        if self.failed.is_some() {
            return None;
        }
        // Users that only stay connected may see no event for longer than `STUCK`.
        if !matches!(self.goal, Goal::Sat { .. }) && now.saturating_sub(self.moved) > STUCK {
            self.fail(self.standstill());
            return None;
        }
        self.strive(net, now)
    }
}
