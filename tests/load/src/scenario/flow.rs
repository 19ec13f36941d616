//! Messages that flow among live connections: paces the sends, and passes all answers and pushes to
//! the judge. Serves `direct`, `group`, `soak` and `abuse`, which differ in the receivers of each
//! stream.

mod flowed;
mod member;
mod plan;
mod sends;
mod tally;
mod wave;

use std::io;

use gimlet_proto::pb::PackageType;

use super::Progress;
use super::gateway::Gateway;
use super::slots::slot_of;
use crate::clock::{self, SECOND};
use crate::judge::{Failed, Finding, Judge, StreamId};
use crate::net::{Ack, Actor, ConnId, Net, Packet, Pushed, Raw, answered_seq, drive};
use crate::pace::Schedule;
use crate::target::Usage;
use member::Members;
use sends::{Sends, Sent};
use tally::Tally;
use wave::Waves;

pub(super) use flowed::Flowed;
pub(super) use member::Member;
pub(super) use plan::{Pace, Plan, Until};

/// Sends begun in one turn, so that reading is never far away.
const BURST: usize = 256;

/// Maximum number of sends in flight; in an open loop, later sends wait, and their wait is part of
/// their time.
const UNDER_WAY: usize = 50_000;

/// Interval of fim's heartbeats, in nanoseconds.
const HEARTBEAT: u64 = 270 * SECOND;

/// Actor of a flow.
pub(super) struct Flow {
    plan: Plan,
    judge: Judge,
    members: Members,
    sends: Sends,
    waves: Waves,
    tally: Tally,
    /// Sends that have begun and not ended.
    open: usize,
    /// Times of the sends, in an open loop.
    schedule: Option<Schedule>,
    today: i64,
    beat: u64,
    /// Text of the first refusal.
    refusal: Option<String>,
    progress: Progress,
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flow").finish_non_exhaustive()
    }
}

impl Flow {
    /// Creates a flow among these members; sends go by gRPC if there is a gateway.
    pub(super) fn new(
        plan: Plan,
        judge: Judge,
        members: Vec<Member>,
        gateway: Option<Gateway>,
        usage: impl Fn() -> Usage + Send + 'static,
    ) -> Self {
        let schedule = match plan.pace {
            Pace::Open(rate) => Some(Schedule::new(clock::now(), rate)),
            Pace::Closed(_) => None,
        };
        Self {
            plan,
            judge,
            members: Members::new(members),
            sends: Sends::new(gateway, plan.size),
            waves: Waves::default(),
            tally: Tally::new(&plan, usage),
            open: 0,
            schedule,
            today: clock::today(),
            beat: clock::now() + HEARTBEAT,
            refusal: None,
            progress: Progress::new(),
        }
    }

    /// Runs the flow to its end.
    pub(super) fn run(mut self, net: &mut Net) -> io::Result<Flowed> {
        if let Pace::Closed(each) = self.plan.pace {
            let now = clock::now();
            for sender in self.members.senders().to_vec() {
                for _ in 0..each {
                    self.begin_send(net, sender, now);
                }
            }
        }
        drive(net, &mut self)?;
        Ok(self.tally.told(self.judge, self.refusal))
    }

    /// Begins the sender's next message, due at `at`. By gRPC it may have to wait for the call
    /// before.
    fn begin_send(&mut self, net: &mut Net, sender: u32, at: u64) {
        let Some(member) = self.members.get_mut(sender) else {
            return;
        };
        let Some(stream) = member.next_lane() else {
            return;
        };
        self.open += 1;
        if !self.sends.by_call() || member.may_call(stream, at) {
            self.send(net, sender, stream, at);
        }
    }

    fn send(&mut self, net: &mut Net, sender: u32, stream: StreamId, at: u64) {
        let (Some(member), Some(to)) = (self.members.get(sender), self.judge.to(stream)) else {
            return;
        };
        let mark = self.judge.send(stream, at);
        let sent = Sent {
            member: sender,
            stream,
            number: mark.number,
            at,
        };
        let listeners = self.judge.listeners(stream);
        self.waves.begin(stream, sender, listeners);
        self.sends.begin(net, member, to, (sent, mark), self.today);
    }

    /// Handles the answer to a send; `on` is the connection it came on, or `None` for a call.
    fn settle(
        &mut self,
        net: &mut Net,
        slot: u32,
        on: Option<ConnId>,
        how: Result<i64, (Failed, String)>,
    ) {
        let Some(sent) = self.sends.end(slot) else {
            self.judge.note(Finding::Connection, || {
                format!("an answer to a send that was not in flight ({slot})")
            });
            return;
        };
        let conn = self.members.get(sent.member).map(|member| member.conn);
        if let (Some(on), Some(conn)) = (on, conn)
            && on != conn
        {
            self.judge.note(Finding::Misdirected, || {
                format!("the answer to a send on connection {conn} came on {on}")
            });
        }
        let now = clock::now();
        let ended = match how {
            Ok(seq) => {
                self.judge.answered(sent.stream);
                if let Some(member) = self.members.get(sent.member) {
                    self.judge.own(member.ear, seq);
                }
                self.tally.answered(sent.at, now);
                let ended = self.waves.answered(sent.stream, sent.number);
                ended || self.plan.until == Until::Answered
            }
            Err((how, why)) => {
                self.judge.failed(sent.stream, sent.number, how);
                self.refusal.get_or_insert(why);
                self.waves.give_up(sent.stream, sent.number);
                true
            }
        };
        // The sender's call is over: its next one may begin, in the order in which they were due.
        if self.sends.by_call() {
            let member = self.members.get_mut(sent.member);
            if let Some((stream, at)) = member.and_then(Member::next_call) {
                self.send(net, sent.member, stream, at);
            }
        }
        if ended {
            self.ended(net, sent.member, now);
        }
    }

    /// Ends a send; in a closed loop the next one begins.
    fn ended(&mut self, net: &mut Net, sender: u32, now: u64) {
        self.open = self.open.saturating_sub(1);
        if matches!(self.plan.pace, Pace::Closed(_)) && now < self.tally.end() {
            self.begin_send(net, sender, now);
        }
    }

    fn push(&mut self, net: &mut Net, id: ConnId, packet: &Packet<'_>) {
        let ear = self.members.on(id).map(|member| member.ear);
        let (Some(pushed), Some(ear)) = (Pushed::read(packet.data), ear) else {
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
        let reach = self.waves.reached(heard.stream, heard.number);
        self.tally.delivered(heard.at, now, reach.last);
        if let Some(sender) = reach.ended
            && self.plan.until == Until::Delivered
        {
            self.ended(net, sender, now);
        }
    }

    /// Begins the sends that are due.
    fn due(&mut self, net: &mut Net, now: u64) {
        let Some(mut schedule) = self.schedule else {
            return;
        };
        for _ in 0..BURST {
            if self.open >= UNDER_WAY || schedule.next() >= self.tally.end() {
                break;
            }
            let Some(at) = schedule.due(now) else { break };
            if let Some(sender) = self.members.next_sender() {
                self.begin_send(net, sender, at);
            }
        }
        self.schedule = Some(schedule);
    }

    fn heartbeat(&mut self, net: &mut Net, now: u64) {
        if now >= self.beat {
            self.beat = now + HEARTBEAT;
            for member in self.members.iter() {
                net.send(member.conn, PackageType::PtHeartbeat, 0, &Raw(&[]));
            }
        }
    }
}

impl Actor for Flow {
    fn packet(&mut self, net: &mut Net, id: ConnId, packet: &Packet<'_>) {
        if packet.is(PackageType::PtMessage) {
            self.push(net, id, packet);
        } else if packet.is(PackageType::PtSend) {
            let how = match packet.code {
                0 => Ok(answered_seq(packet.data)),
                4 => Err((Failed::Unknown, packet.refusal())),
                _ => Err((Failed::Refused, packet.refusal())),
            };
            self.settle(net, slot_of(packet.request_id), Some(id), how);
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
        self.tally.look(now);
        for (slot, how) in self.sends.outcomes() {
            self.settle(net, slot, None, how);
        }
        self.progress.show(now, "answered", self.tally.all());
        self.heartbeat(net, now);
        let (begin, end) = (self.tally.begin(), self.tally.end());
        if now >= end {
            let over = self.judge.complete() || now > end + self.plan.grace;
            return (!over).then_some(now + SECOND / 100);
        }
        self.due(net, now);
        let milestone = if now < begin { begin } else { end };
        let full = self.open >= UNDER_WAY;
        let schedule = self.schedule.as_ref().filter(|_| !full);
        Some(schedule.map_or(milestone, |schedule| schedule.next().min(milestone)))
    }
}
