//! Users who come, stay, write to each other, go and come back, and remember what they have. Serves
//! the scenarios about connections: `idle`, `storm`, `sync`.
//!
//! A person keeps the seq up to which it has its inbox, as a client does, and resumes from there;
//! what the judge heard once is not told to it again. One [`Goal`] at a time: the actor lives until
//! it is reached.

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

/// Without anything happening for this long, it has failed.
const STUCK: u64 = 30 * SECOND;

/// The users.
#[derive(Debug)]
pub(super) struct Crew {
    people: People,
    judge: Judge,
    protocol: u32,
    goal: Goal,
    /// When the goal was set, and when anything happened last.
    begun: u64,
    moved: u64,
    /// The next person to begin with.
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
    /// New users, who have nothing yet.
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

    /// More users, who have nothing yet.
    fn add(&mut self, accounts: Vec<Account>) {
        self.people.add(&mut self.judge, accounts);
    }

    /// How many users there are.
    pub(super) const fn len(&self) -> usize {
        self.people.len()
    }

    /// From now on, one user also writes to another.
    pub(super) fn writes_to(&mut self, from: usize, to: usize) {
        self.people.writes_to(&mut self.judge, from, to);
    }

    /// Lives until the goal is reached; gives the nanoseconds it took.
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

    /// All connections end without a word; nobody knows what became of sends without an answer.
    fn cut(&mut self, net: &mut Net) {
        for at in 0..self.len() {
            if let Some(conn) = self.people.get(at).and_then(|person| person.conn) {
                net.close(conn);
                self.left(at);
            }
        }
    }

    /// Messages that SYNC brought since the last goal of being live was set.
    pub(super) const fn synced(&self) -> u64 {
        self.coming.synced()
    }

    /// How long each took to be live, the last time.
    pub(super) fn times(&self) -> Summary {
        self.coming.times()
    }

    /// What was wrong.
    pub(super) fn verdict(self) -> Findings {
        self.judge.verdict()
    }

    fn is_joining(&self, at: usize) -> bool {
        self.people.get(at).is_some_and(|it| it.way == Way::Joining)
    }

    /// A person's connection is gone.
    fn left(&mut self, at: usize) {
        if let Some(person) = self.people.get_mut(at) {
            self.coming.leaves(person.way);
            person.leave();
            self.sends.lose(&mut self.judge, person);
        }
    }

    /// A busy server turned the person away, which comes again as a client does.
    fn turn_away(&mut self, net: &mut Net, at: usize, id: ConnId) {
        net.close(id);
        self.left(at);
        if let Err(why) = self.busy.turn_away(at, self.people.len()) {
            self.fail(why);
        }
    }

    /// It has failed; the first reason is kept.
    fn fail(&mut self, why: impl Into<String>) {
        self.failed.get_or_insert_with(|| why.into());
    }

    /// Connects the person.
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

    /// The person's next message, if it has one to write.
    fn write(&mut self, net: &mut Net, at: usize) {
        if let Some(person) = self.people.get_mut(at) {
            self.sends.write(net, &mut self.judge, person, self.today);
        }
    }

    /// A send was answered.
    fn settle(&mut self, net: &mut Net, at: usize, packet: &Packet<'_>) {
        let Some(person) = self.people.get_mut(at) else {
            return;
        };
        let Some(end) = self.sends.settle(&mut self.judge, person, packet) else {
            return;
        };
        if end == End::Misdirected {
            return self.fail("the answer to another's send came");
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

    /// An entry of the inbox came; the person's own it has by the answer.
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
            self.fail("SYNC was answered with no page");
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
            _ if packet.code == UNAVAILABLE && self.is_joining(at) => self.turn_away(net, at, id),
            _ if packet.code != 0 => self.fail(format!("it was refused: {}", packet.refusal())),
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
        if !matches!(self.goal, Goal::Sat { .. }) && now.saturating_sub(self.moved) > STUCK {
            self.fail(self.standstill());
            return None;
        }
        self.strive(net, now)
    }
}
