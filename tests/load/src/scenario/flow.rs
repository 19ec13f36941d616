//! Messages flowing among live connections: who sends when, what is measured, what the judge hears.
//! Serves `direct` and `group`, which differ in who listens to what.

mod flowed;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use gimlet_proto::pb::{self, PackageType};

use super::Progress;
use super::gateway::{Gateway, Order};
use crate::account::Account;
use crate::clock::{self, SECOND};
use crate::judge::{EarId, Failed, Finding, Judge, Mark, StreamId};
use crate::latency::Latency;
use crate::net::{Ack, Actor, ConnId, Joined, Net, Packet, Pushed, Raw, Send, answered_seq, drive};
use crate::pace::Schedule;
use crate::target::Usage;

pub(super) use flowed::Flowed;

/// Sends begun in one turn, so that reading is never far away.
const BURST: usize = 256;

/// Sends under way at the most; in an open loop later ones wait, and are charged for it.
const UNDER_WAY: usize = 50_000;

/// fim's heartbeat.
const HEARTBEAT: u64 = 270 * SECOND;

/// When senders send.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// So many per second in all, whatever becomes of them.
    Open(f64),
    /// So many under way per sender.
    Closed(u32),
}

/// When a closed loop's send has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// With its answer.
    Answered,
    /// With its answer and the last delivery.
    Delivered,
}

/// How a flow runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) pace: Pace,
    pub(super) until: Until,
    /// Bytes of a content.
    pub(super) size: usize,
    /// Nanoseconds before the measured part, and of it.
    pub(super) before: u64,
    pub(super) measured: u64,
    /// After it, until all must be answered and delivered.
    pub(super) grace: u64,
}

/// A user on a connection.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) account: Arc<Account>,
    pub(super) conn: ConnId,
    pub(super) ear: EarId,
    /// The streams it sends, in turn.
    pub(super) lanes: Vec<StreamId>,
    turn: usize,
    /// Sends that wait for the one before: by gRPC a sender's calls would overtake each other.
    queue: VecDeque<(StreamId, u64)>,
    busy: bool,
}

impl Member {
    pub(super) fn new(account: Account, joined: Joined, judge: &mut Judge) -> Self {
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
}

/// A send under way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    member: u32,
    stream: StreamId,
    number: u32,
    at: u64,
}

/// A message that has not reached all who listen.
#[derive(Clone, Copy, Debug)]
struct Spreading {
    member: u32,
    left: u32,
    answered: bool,
}

/// The spreading messages of a stream, from this number on.
#[derive(Debug, Default)]
struct Wave {
    first: u32,
    messages: VecDeque<Spreading>,
}

/// The actor.
pub(super) struct Flow {
    plan: Plan,
    judge: Judge,
    members: Vec<Member>,
    senders: Vec<u32>,
    of_conn: Vec<u32>,
    gateway: Option<Gateway>,
    usage: Box<dyn Fn() -> Usage + std::marker::Send>,
    under_way: Vec<Option<Sent>>,
    free: Vec<u32>,
    count: usize,
    waves: Vec<Wave>,
    schedule: Option<Schedule>,
    next_sender: usize,
    begin: u64,
    end: u64,
    today: i64,
    beat: u64,
    content: Vec<u8>,
    ends: (Option<Usage>, Option<Usage>),
    answered: u64,
    delivered: u64,
    all: u64,
    answer: Latency,
    delivery: Latency,
    last: Latency,
    refusal: Option<String>,
    progress: Progress,
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flow").finish_non_exhaustive()
    }
}

fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

impl Flow {
    /// A flow among these members, by gRPC if there is a gateway.
    pub(super) fn new(
        plan: Plan,
        judge: Judge,
        members: Vec<Member>,
        gateway: Option<Gateway>,
        usage: impl Fn() -> Usage + std::marker::Send + 'static,
    ) -> Self {
        let mut of_conn = Vec::new();
        for (at, member) in members.iter().enumerate() {
            let slot = member.conn as usize;
            if of_conn.len() <= slot {
                of_conn.resize(slot + 1, u32::MAX);
            }
            if let Some(of) = of_conn.get_mut(slot) {
                *of = index(at);
            }
        }
        let sends = members.iter().enumerate();
        let senders = sends.filter(|(_, member)| !member.lanes.is_empty());
        let senders: Vec<u32> = senders.map(|(at, _)| index(at)).collect();
        let begin = clock::now() + plan.before;
        let schedule = match plan.pace {
            Pace::Open(rate) => Some(Schedule::new(clock::now(), rate)),
            Pace::Closed(_) => None,
        };
        Self {
            plan,
            judge,
            members,
            senders,
            of_conn,
            gateway,
            usage: Box::new(usage),
            under_way: Vec::new(),
            free: Vec::new(),
            count: 0,
            waves: Vec::new(),
            schedule,
            next_sender: 0,
            begin,
            end: begin + plan.measured,
            today: clock::today(),
            beat: clock::now() + HEARTBEAT,
            content: Vec::new(),
            ends: (None, None),
            answered: 0,
            delivered: 0,
            all: 0,
            answer: Latency::new(begin),
            delivery: Latency::new(begin),
            last: Latency::new(begin),
            refusal: None,
            progress: Progress::new(),
        }
    }

    /// Runs it to its end.
    pub(super) fn run(mut self, net: &mut Net) -> io::Result<Flowed> {
        if let Pace::Closed(each) = self.plan.pace {
            let now = clock::now();
            for sender in self.senders.clone() {
                for _ in 0..each {
                    self.begin_send(net, sender, now);
                }
            }
        }
        drive(net, &mut self)?;
        let first = self.ends.0.unwrap_or_default();
        Ok(Flowed {
            answered: self.answered,
            delivered: self.delivered,
            answer: self.answer.summary(),
            delivery: self.delivery.summary(),
            last: self.last.summary(),
            usage: (first, self.ends.1.unwrap_or(first)),
            failures: self.judge.failures(),
            refusal: self.refusal,
            findings: self.judge.verdict(),
        })
    }

    fn measured(&self, at: u64) -> bool {
        (self.begin..self.end).contains(&at)
    }

    /// The sender's next message, due at `at`; by gRPC it may have to wait for the one before.
    fn begin_send(&mut self, net: &mut Net, sender: u32, at: u64) {
        let Some(member) = self.members.get_mut(sender as usize) else {
            return;
        };
        let Some(&stream) = member.lanes.get(member.turn % member.lanes.len().max(1)) else {
            return;
        };
        member.turn += 1;
        self.count += 1;
        if self.gateway.is_some() {
            if member.busy {
                member.queue.push_back((stream, at));
                return;
            }
            member.busy = true;
        }
        self.send(net, sender, stream, at);
    }

    fn send(&mut self, net: &mut Net, sender: u32, stream: StreamId, at: u64) {
        let (Some(member), Some(to)) = (self.members.get(sender as usize), self.judge.to(stream))
        else {
            return;
        };
        let mark = self.judge.send(stream, at);
        mark.write(&mut self.content, self.plan.size);
        let sent = Sent {
            member: sender,
            stream,
            number: mark.number,
            at,
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.under_way.push(None);
            index(self.under_way.len() - 1)
        });
        if let Some(place) = self.under_way.get_mut(slot as usize) {
            *place = Some(sent);
        }
        if let Some(gateway) = &self.gateway {
            let order = Order {
                slot,
                account: Arc::clone(&member.account),
                send: pb::SendMessageReq {
                    receiver_type: i32::from(to.kind()),
                    receiver_id: to.id(),
                    message_type: 1,
                    message_content: self.content.clone().into(),
                    send_time: self.today,
                    is_persist: true,
                    ..pb::SendMessageReq::default()
                },
            };
            if !gateway.send(order) {
                self.settle(net, slot, Err((Failed::Refused, "not sent".to_owned())));
            }
        } else {
            let body = Send {
                receiver_type: to.kind(),
                receiver: to.id(),
                at: self.today,
                content: &self.content,
                key: &key(mark),
            };
            let request = i64::from(slot) + 1;
            net.send(member.conn, PackageType::PtSend, request, &body);
        }
        self.spread(sent);
    }

    /// Begins to wait for the deliveries of a message.
    fn spread(&mut self, sent: Sent) {
        let at = sent.stream as usize;
        if self.waves.len() <= at {
            self.waves.resize_with(at + 1, Wave::default);
        }
        let left = self.judge.listeners(sent.stream);
        if let Some(wave) = self.waves.get_mut(at) {
            wave.messages.push_back(Spreading {
                member: sent.member,
                left,
                answered: false,
            });
        }
    }

    /// A message of a stream was answered, or reached one more. Says whether that was the last thing
    /// to happen to it.
    fn progress_of(&mut self, stream: StreamId, number: u32, answered: bool) -> Option<u32> {
        let wave = self.waves.get_mut(stream as usize)?;
        let at = number.checked_sub(wave.first)? as usize;
        let it = wave.messages.get_mut(at)?;
        if answered {
            it.answered = true;
        } else {
            it.left = it.left.saturating_sub(1);
        }
        let ended = (it.answered && it.left == 0).then_some(it.member);
        while wave
            .messages
            .front()
            .is_some_and(|it| it.answered && it.left == 0)
        {
            wave.messages.pop_front();
            wave.first += 1;
        }
        ended
    }

    /// A send was answered.
    fn settle(&mut self, net: &mut Net, slot: u32, how: Result<i64, (Failed, String)>) {
        let sent = self.under_way.get_mut(slot as usize).and_then(Option::take);
        let Some(sent) = sent else {
            self.judge.note(Finding::Connection, || {
                format!("an answer to a send that was not under way ({slot})")
            });
            return;
        };
        self.free.push(slot);
        let now = clock::now();
        let ended = match how {
            Ok(seq) => {
                self.judge.answered(sent.stream);
                if let Some(member) = self.members.get(sent.member as usize) {
                    self.judge.own(member.ear, seq);
                }
                self.all += 1;
                if self.measured(now) {
                    self.answered += 1;
                }
                if self.measured(sent.at) {
                    self.answer.record(sent.at, now);
                }
                let ended = self.progress_of(sent.stream, sent.number, true);
                ended.is_some() || self.plan.until == Until::Answered
            }
            Err((how, why)) => {
                self.judge.failed(sent.stream, sent.number, how);
                self.refusal.get_or_insert(why);
                self.give_up(sent);
                true
            }
        };
        if self.gateway.is_some() {
            self.next_call(net, sent.member);
        }
        if ended {
            self.ended(net, sent.member, now);
        }
    }

    /// Nobody waits for a failed message.
    fn give_up(&mut self, sent: Sent) {
        if let Some(wave) = self.waves.get_mut(sent.stream as usize)
            && let Some(at) = sent.number.checked_sub(wave.first)
            && let Some(it) = wave.messages.get_mut(at as usize)
        {
            (it.left, it.answered) = (0, true);
        }
    }

    fn next_call(&mut self, net: &mut Net, sender: u32) {
        let Some(member) = self.members.get_mut(sender as usize) else {
            return;
        };
        match member.queue.pop_front() {
            Some((stream, at)) => self.send(net, sender, stream, at),
            None => member.busy = false,
        }
    }

    /// A send has ended; in a closed loop the next one begins.
    fn ended(&mut self, net: &mut Net, sender: u32, now: u64) {
        self.count = self.count.saturating_sub(1);
        if matches!(self.plan.pace, Pace::Closed(_)) && now < self.end {
            self.begin_send(net, sender, now);
        }
    }

    fn push(&mut self, net: &mut Net, id: ConnId, packet: &Packet<'_>) {
        let ear = self.of_conn.get(id as usize).copied();
        let ear = ear.and_then(|at| self.members.get(at as usize));
        let (Some(pushed), Some(ear)) = (Pushed::read(packet.data), ear.map(|it| it.ear)) else {
            let note = || "a push that cannot be read".to_owned();
            self.judge.note(Finding::Connection, note);
            return;
        };
        let ack = Ack {
            seq: pushed.seq,
            at: self.today,
        };
        net.send(id, PackageType::PtMessage, 0, &ack);
        let Some(heard) = self.judge.heard(ear, &pushed) else {
            return;
        };
        let now = clock::now();
        if self.measured(now) {
            self.delivered += 1;
        }
        if self.measured(heard.at) {
            self.delivery.record(heard.at, now);
        }
        let left = self.waves.get(heard.stream as usize).and_then(|wave| {
            let at = heard.number.checked_sub(wave.first)?;
            wave.messages.get(at as usize).map(|it| it.left)
        });
        if left == Some(1) && self.measured(heard.at) {
            self.last.record(heard.at, now);
        }
        if let Some(sender) = self.progress_of(heard.stream, heard.number, false)
            && self.plan.until == Until::Delivered
        {
            self.ended(net, sender, now);
        }
    }

    /// Begins what is due.
    fn due(&mut self, net: &mut Net, now: u64) {
        let Some(mut schedule) = self.schedule else {
            return;
        };
        for _ in 0..BURST {
            if self.count >= UNDER_WAY || schedule.next() >= self.end {
                break;
            }
            let Some(at) = schedule.due(now) else { break };
            let turn = self.next_sender % self.senders.len().max(1);
            self.next_sender = turn + 1;
            if let Some(&sender) = self.senders.get(turn) {
                self.begin_send(net, sender, at);
            }
        }
        self.schedule = Some(schedule);
    }

    fn heartbeat(&mut self, net: &mut Net, now: u64) {
        if now >= self.beat {
            self.beat = now + HEARTBEAT;
            for member in &self.members {
                net.send(member.conn, PackageType::PtHeartbeat, 0, &Raw(&[]));
            }
        }
    }
}

/// The client's id of a message: unique in all runs.
fn key(mark: Mark) -> [u8; 24] {
    let mut key = [0; 24];
    let digits = [mark.run, mark.stream, mark.number]
        .into_iter()
        .flat_map(|word| (0..8).rev().map(move |nibble| word >> (4 * nibble) & 15))
        .map(|nibble| char::from_digit(nibble, 16).map_or(b'0', |digit| digit as u8));
    for (place, digit) in key.iter_mut().zip(digits) {
        *place = digit;
    }
    key
}

impl Actor for Flow {
    fn packet(&mut self, net: &mut Net, id: ConnId, packet: &Packet<'_>) {
        if packet.is(PackageType::PtMessage) {
            self.push(net, id, packet);
        } else if packet.is(PackageType::PtSend) {
            let slot = u32::try_from(packet.request_id - 1).unwrap_or(u32::MAX);
            let how = match packet.code {
                0 => Ok(answered_seq(packet.data)),
                4 => Err((Failed::Unknown, packet.refusal())),
                _ => Err((Failed::Refused, packet.refusal())),
            };
            self.settle(net, slot, how);
        } else if packet.code != 0 || packet.is(PackageType::PtClose) {
            let text = format!("a packet of type {}: {}", packet.kind, packet.refusal());
            self.judge.note(Finding::Connection, || text);
        }
    }

    fn closed(&mut self, _net: &mut Net, id: ConnId, why: &str) {
        let text = format!("connection {id} was lost: {why}");
        self.judge.note(Finding::Connection, || text);
    }

    fn turn(&mut self, net: &mut Net, now: u64) -> Option<u64> {
        self.today = clock::today();
        if now >= self.begin && self.ends.0.is_none() {
            self.ends.0 = Some((self.usage)());
        }
        if now >= self.end && self.ends.1.is_none() {
            self.ends.1 = Some((self.usage)());
        }
        if let Some(gateway) = &self.gateway {
            for (slot, how) in gateway.outcomes() {
                self.settle(net, slot, how);
            }
        }
        self.progress.show(now, "answered", self.all);
        self.heartbeat(net, now);
        if now >= self.end {
            let over = self.judge.complete() || now > self.end + self.plan.grace;
            return (!over).then_some(now + SECOND / 100);
        }
        self.due(net, now);
        let milestone = if now < self.begin {
            self.begin
        } else {
            self.end
        };
        let full = self.count >= UNDER_WAY;
        let schedule = self.schedule.as_ref().filter(|_| !full);
        Some(schedule.map_or(milestone, |schedule| schedule.next().min(milestone)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_run_stream_and_number() {
        let mark = Mark {
            run: 0xdead_beef,
            stream: 1,
            number: 0x10,
            at: 0,
        };
        assert_eq!(&key(mark), b"deadbeef0000000100000010");
    }
}
