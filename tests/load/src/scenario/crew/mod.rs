//! Users who come, stay, write to each other, go and come back, and remember what they have. Serves
//! the scenarios about connections: `idle`, `storm`, `sync`.
//!
//! A person keeps the seq up to which it has its inbox, as a client does, and resumes from there;
//! what the judge heard once is not told to it again. One [`Goal`] at a time: the actor lives until
//! it is reached.

mod goal;
mod parts;
mod person;

use std::io;

use gimlet_proto::pb::{self, PackageType};
use prost::Message as _;

use crate::account::Account;
use crate::clock::{self, SECOND};
use crate::judge::{Failed, Finding, Findings, Judge, StreamId, To};
use crate::latency::{Latency, Summary};
use crate::net::{
    Ack, Actor, ConnId, Net, Packet, Pushed, Raw, Send, answered_seq, drive, page, sign_in_body,
};
use person::{Person, Way};

pub(crate) use goal::Goal;
pub use parts::obey;
pub(crate) use parts::{AT_ONCE, Came, Crews};
pub(crate) use parts::{bare_connects, processes, split};

/// Bytes of a message.
const SIZE: usize = 100;

/// The times from a beginning to these moments.
fn summary(begun: u64, moments: &[u64]) -> Summary {
    let mut latency = Latency::new(begun);
    for &moment in moments {
        latency.record(begun, moment);
    }
    latency.summary()
}

/// Without anything happening for this long, it has failed.
const STUCK: u64 = 30 * SECOND;

/// The code of a server that is too busy, and how often it may say so to each, on average.
const UNAVAILABLE: i32 = 14;
const TRIES: u64 = 3;

/// How long one waits whose message it refused.
const PATIENCE: u64 = SECOND / 10;

/// A send under way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    person: u32,
    stream: StreamId,
    number: u32,
}

/// The users.
#[derive(Debug)]
pub(super) struct Crew {
    people: Vec<Person>,
    of_conn: Vec<u32>,
    judge: Judge,
    protocol: u32,
    goal: Goal,
    /// When the goal was set, when the last one of being live was, and when anything happened last.
    begun: u64,
    began_to_come: u64,
    moved: u64,
    /// The next person to begin with.
    next: usize,
    live: usize,
    joining: usize,
    /// Those whom a busy server turned away: they come again. And how often that was.
    again: Vec<usize>,
    turned_away: u64,
    /// Those whose message a busy server refused: they write another one then. And how many it
    /// refused.
    refused: Vec<usize>,
    write_again: u64,
    refusals: u64,
    sends: Vec<Option<Sent>>,
    free: Vec<u32>,
    under_way: usize,
    answered: u64,
    beats: u64,
    /// Messages that SYNC brought.
    synced: u64,
    /// When each person was live.
    back: Vec<u64>,
    content: Vec<u8>,
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
            people: Vec::new(),
            of_conn: Vec::new(),
            judge: Judge::new(rand::random()),
            protocol,
            goal: Goal::Gone,
            begun: 0,
            began_to_come: 0,
            moved: 0,
            next: 0,
            live: 0,
            joining: 0,
            again: Vec::new(),
            turned_away: 0,
            refused: Vec::new(),
            write_again: 0,
            refusals: 0,
            sends: Vec::new(),
            free: Vec::new(),
            under_way: 0,
            answered: 0,
            beats: 0,
            synced: 0,
            back: Vec::new(),
            content: Vec::new(),
            today: clock::today(),
            failed: None,
        }
    }

    /// More users, who have nothing yet.
    fn add(&mut self, accounts: Vec<Account>) {
        for account in accounts {
            let ear = self.judge.ear(0);
            self.people.push(Person::new(account, ear));
        }
    }

    /// How many users there are.
    pub(super) fn len(&self) -> usize {
        self.people.len()
    }

    /// From now on, one user also writes to another.
    pub(super) fn writes_to(&mut self, from: usize, to: usize) {
        let Some((user, ear)) = self.people.get(to).map(|it| (it.account.user, it.ear)) else {
            return;
        };
        if let Some(person) = self.people.get_mut(from) {
            let stream = self.judge.stream(person.account.user, To::User(user));
            self.judge.listen(ear, stream);
            person.lanes.push(stream);
        }
    }

    /// The users from `from` on write to the next of them, those before to nobody any more.
    fn ring(&mut self, from: usize) {
        for person in self.people.iter_mut().take(from) {
            person.lanes.clear();
        }
        let count = self.len().saturating_sub(from);
        for at in 0..count {
            self.writes_to(from + at, from + (at + 1) % count);
        }
    }

    /// The first `writers` write to the users from `from` on, and nobody else does.
    fn backlog(&mut self, writers: usize, from: usize) {
        for person in &mut self.people {
            person.lanes.clear();
        }
        for reader in from..self.len() {
            self.writes_to(reader % writers.max(1), reader);
        }
    }

    /// The first who has no connection.
    fn first_away(&self) -> usize {
        let away = self.people.iter().position(|it| it.way == Way::Away);
        away.unwrap_or(self.people.len())
    }

    /// Lives until the goal is reached; gives the nanoseconds it took.
    pub(super) fn reach(&mut self, net: &mut Net, goal: Goal) -> io::Result<u64> {
        self.begun = clock::now();
        self.moved = self.begun;
        self.goal = goal;
        self.next = 0;
        self.refused.clear();
        self.refusals = 0;
        self.today = clock::today();
        if let Goal::Live { .. } = goal {
            self.began_to_come = self.begun;
            self.back.clear();
            self.synced = 0;
        }
        if let Goal::Written { each, .. } | Goal::Writing { each, .. } = goal {
            for person in &mut self.people {
                person.left = each * person.lanes.len() as u64;
            }
        }
        self.answered = 0;
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
        self.synced
    }

    /// Heartbeats answered.
    const fn beats(&self) -> u64 {
        self.beats
    }

    /// How long each took to be live, the last time.
    pub(super) fn times(&self) -> Summary {
        summary(self.began_to_come, &self.back)
    }

    /// Sends answered; and sends refused and of unknown fate.
    fn sends(&self) -> (u64, (u64, u64)) {
        (self.judge.answers(), self.judge.failures())
    }

    /// What was wrong.
    pub(super) fn verdict(self) -> Findings {
        self.judge.verdict()
    }

    fn at(&self, id: ConnId) -> Option<usize> {
        let at = self.of_conn.get(id as usize).copied()? as usize;
        let person = self.people.get(at)?;
        (person.conn == Some(id)).then_some(at)
    }

    fn is_joining(&self, at: usize) -> bool {
        self.people.get(at).is_some_and(|it| it.way == Way::Joining)
    }

    /// A person's connection is gone.
    fn left(&mut self, at: usize) {
        let Some(person) = self.people.get_mut(at) else {
            return;
        };
        match person.way {
            Way::Live => self.live -= 1,
            Way::Joining => self.joining -= 1,
            Way::Away => {}
        }
        person.leave();
        for slot in std::mem::take(&mut person.under_way) {
            let sent = self.sends.get_mut(slot as usize).and_then(Option::take);
            if let Some(sent) = sent {
                self.free.push(slot);
                self.under_way -= 1;
                self.judge.failed(sent.stream, sent.number, Failed::Unknown);
            }
        }
    }

    /// A busy server turned the person away, which comes again as a client does.
    fn turn_away(&mut self, net: &mut Net, at: usize, id: ConnId) {
        net.close(id);
        self.left(at);
        self.again.push(at);
        self.turned_away += 1;
        if self.turned_away > TRIES * self.people.len() as u64 {
            self.failed = Some("the server turns too many away".to_owned());
        }
    }

    /// Connects the person.
    fn come(&mut self, net: &mut Net, at: usize) {
        match net.connect() {
            Ok(conn) => {
                let slot = conn as usize;
                if self.of_conn.len() <= slot {
                    self.of_conn.resize(slot + 1, u32::MAX);
                }
                let of = self.of_conn.get_mut(slot);
                if let (Some(of), Some(person)) = (of, self.people.get_mut(at)) {
                    *of = u32::try_from(at).unwrap_or(u32::MAX);
                    person.conn = Some(conn);
                    person.way = Way::Joining;
                    self.joining += 1;
                }
            }
            Err(error) => self.failed = Some(format!("connecting: {error}")),
        }
    }

    /// The person's next message, if it has one to write.
    fn write(&mut self, net: &mut Net, at: usize) {
        let Some(person) = self.people.get_mut(at).filter(|it| it.way == Way::Live) else {
            return;
        };
        let (Some(conn), Some(stream)) = (person.conn, person.next_lane()) else {
            return;
        };
        let Some(to) = self.judge.to(stream) else {
            return;
        };
        let mark = self.judge.send(stream, clock::now());
        mark.write(&mut self.content, SIZE);
        let sent = Sent {
            person: u32::try_from(at).unwrap_or(u32::MAX),
            stream,
            number: mark.number,
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.sends.push(None);
            u32::try_from(self.sends.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(place) = self.sends.get_mut(slot as usize) {
            *place = Some(sent);
        }
        self.under_way += 1;
        person.under_way.push(slot);
        let key = format!("{:08x}{:08x}{:08x}", mark.run, mark.stream, mark.number);
        let body = Send {
            receiver_type: to.kind(),
            receiver: to.id(),
            at: self.today,
            content: &self.content,
            key: key.as_bytes(),
        };
        net.send(conn, PackageType::PtSend, i64::from(slot) + 1, &body);
    }

    /// A send was answered.
    fn settle(&mut self, net: &mut Net, at: usize, packet: &Packet<'_>) {
        let slot = u32::try_from(packet.request_id - 1).unwrap_or(u32::MAX);
        let Some(sent) = self.sends.get_mut(slot as usize).and_then(Option::take) else {
            let note = || format!("an answer to a send that was not under way ({slot})");
            self.judge.note(Finding::Connection, note);
            return;
        };
        self.free.push(slot);
        self.under_way -= 1;
        if let Some(person) = self.people.get_mut(at) {
            person.under_way.retain(|it| *it != slot);
            if packet.code == 0 {
                self.answered += 1;
                let seq = answered_seq(packet.data);
                person.has(seq);
                self.judge.own(person.ear, seq);
            }
        }
        match packet.code {
            0 => self.judge.answered(sent.stream),
            4 => self.judge.failed(sent.stream, sent.number, Failed::Unknown),
            _ => {
                self.judge.failed(sent.stream, sent.number, Failed::Refused);
                if packet.code == UNAVAILABLE && self.goal.bears_refusals() {
                    return self.refused(at);
                }
                self.failed
                    .get_or_insert(format!("a send was refused: {}", packet.refusal()));
            }
        }
        if let Goal::Written { .. } = self.goal {
            self.write(net, sent.person as usize);
        }
    }

    /// A busy server did not take the person's message: it writes another one, a little later.
    fn refused(&mut self, at: usize) {
        self.refusals += 1;
        if self.refusals > TRIES * self.people.len() as u64 {
            self.failed = Some("the server refuses too many sends".to_owned());
        }
        if self.refused.is_empty() {
            self.write_again = clock::now() + PATIENCE;
        }
        self.refused.push(at);
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
            self.failed = Some("SYNC was answered with no page".to_owned());
            return;
        };
        self.synced += messages.len() as u64;
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
            self.joining -= 1;
            self.live += 1;
            self.back.push(now);
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
        if let Some(person) = self.at(id).and_then(|at| self.people.get(at)) {
            let body = sign_in_body(&person.account, self.protocol);
            net.send(id, PackageType::PtSignIn, 1, &Raw(&body));
        }
    }

    fn packet(&mut self, net: &mut Net, id: ConnId, packet: &Packet<'_>) {
        let Some(at) = self.at(id) else { return };
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
            Ok(PackageType::PtClose) => {}
            _ if packet.code == UNAVAILABLE && self.is_joining(at) => self.turn_away(net, at, id),
            _ if packet.code != 0 => {
                self.failed = Some(format!("it was refused: {}", packet.refusal()));
            }
            Ok(PackageType::PtSignIn) => self.sync(net, at, id),
            Ok(PackageType::PtSync) => self.page(net, at, id, packet),
            Ok(PackageType::PtHeartbeat) => self.beats += 1,
            _ => {}
        }
    }

    fn closed(&mut self, _net: &mut Net, id: ConnId, why: &str) {
        self.moved = clock::now();
        let Some(at) = self.at(id) else { return };
        self.left(at);
        if self.goal != Goal::Gone {
            self.judge.note(Finding::Connection, || {
                format!("connection {id} was lost: {why}")
            });
            self.failed
                .get_or_insert(format!("a connection was lost: {why}"));
        }
    }

    fn turn(&mut self, net: &mut Net, now: u64) -> Option<u64> {
        self.today = clock::today();
        if self.failed.is_some() {
            return None;
        }
        if !matches!(self.goal, Goal::Sat { .. }) && now.saturating_sub(self.moved) > STUCK {
            self.failed = Some(self.standstill());
            return None;
        }
        self.strive(net, now)
    }
}
