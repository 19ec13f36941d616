//! Messages that flow among live connections: paces the sends, and passes all answers and pushes to
//! the judge. Serves `direct`, `group`, `soak` and `abuse`, which differ in the receivers of each
//! stream.

mod member;
mod plan;
mod results;
mod sends;
mod spread;
mod tally;

use std::io;

use gimlet_proto::pb::PackageType;

use super::ProgressLine;
use super::grpc_sender::GrpcSender;
use crate::clock::{self, SECOND};
use crate::judge::{DeliveryJudge, FindingKind, SendFailure, StreamId};
use crate::net::{
    AckBody, ClientNet, ConnId, ConnectionActor, RawBody, ServerPacket, answered_seq, drive,
    read_push,
};
use crate::pace::SendSchedule;
use crate::slots::slot_of;
use crate::target::UsageSample;
use member::FlowMembers;
use sends::{FlowSend, FlowSends};
use spread::MessageSpread;
use tally::FlowTally;

pub(super) use member::FlowMember;
pub(super) use plan::{FlowPlan, SendEnd, SendPace};
pub(super) use results::FlowResults;

/// Sends begun in one turn, so that reading is never far away.
const BURST: usize = 256;

/// Maximum number of sends in flight; in an open loop, later sends wait, and their wait is part of
/// their time.
const MAX_SENDS_IN_FLIGHT: usize = 50_000;

/// Interval of fim's heartbeats, in nanoseconds.
const HEARTBEAT: u64 = 270 * SECOND;

/// Actor of a flow.
pub(super) struct FlowActor {
    plan: FlowPlan,
    judge: DeliveryJudge,
    members: FlowMembers,
    sends: FlowSends,
    waves: MessageSpread,
    tally: FlowTally,
    /// Sends that have begun and not ended.
    open: usize,
    /// Times of the sends, in an open loop.
    schedule: Option<SendSchedule>,
    today: i64,
    next_heartbeat: u64,
    /// Text of the first refusal.
    refusal: Option<String>,
    progress: ProgressLine,
}

impl std::fmt::Debug for FlowActor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlowActor").finish_non_exhaustive()
    }
}

impl FlowActor {
    /// Creates a flow among these members; sends go by gRPC if there is a gateway.
    pub(super) fn new(
        plan: FlowPlan,
        judge: DeliveryJudge,
        members: Vec<FlowMember>,
        gateway: Option<GrpcSender>,
        usage: impl Fn() -> UsageSample + Send + 'static,
    ) -> Self {
        let schedule = match plan.pace {
            SendPace::Open(rate) => Some(SendSchedule::new(clock::now(), rate)),
            SendPace::Closed(_) => None,
        };
        Self {
            plan,
            judge,
            members: FlowMembers::new(members),
            sends: FlowSends::new(gateway, plan.size),
            waves: MessageSpread::default(),
            tally: FlowTally::new(&plan, usage),
            open: 0,
            schedule,
            today: clock::today(),
            next_heartbeat: clock::now() + HEARTBEAT,
            refusal: None,
            progress: ProgressLine::new(),
        }
    }

    /// Runs the flow to its end.
    pub(super) fn run(mut self, net: &mut ClientNet) -> io::Result<FlowResults> {
        if let SendPace::Closed(each) = self.plan.pace {
            let now = clock::now();
            for sender in self.members.senders().to_vec() {
                for _ in 0..each {
                    self.begin_send(net, sender, now);
                }
            }
        }
        drive(net, &mut self)?;
        Ok(self.tally.into_results(&self.judge, self.refusal))
    }

    /// Begins the sender's next message, due at `at`. By gRPC it may have to wait for the call
    /// before.
    fn begin_send(&mut self, net: &mut ClientNet, sender: u32, at: u64) {
        let Some(member) = self.members.get_mut(sender) else {
            return;
        };
        let Some(stream) = member.next_stream() else {
            return;
        };
        self.open += 1;
        if !self.sends.by_call() || member.may_call(stream, at) {
            self.send(net, sender, stream, at);
        }
    }

    fn send(&mut self, net: &mut ClientNet, sender: u32, stream: StreamId, at: u64) {
        let (Some(member), Some(to)) = (self.members.get(sender), self.judge.to(stream)) else {
            return;
        };
        let mark = self.judge.send(stream, at);
        let sent = FlowSend {
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
        net: &mut ClientNet,
        slot: u32,
        on: Option<ConnId>,
        how: Result<i64, (SendFailure, String)>,
    ) {
        let Some(sent) = self.sends.end(slot) else {
            self.judge.note(FindingKind::Connection, || {
                format!("an answer to a send that was not in flight ({slot})")
            });
            return;
        };
        let conn = self.members.get(sent.member).map(|member| member.conn);
        if let (Some(on), Some(conn)) = (on, conn)
            && on != conn
        {
            self.judge.note(FindingKind::Misdirected, || {
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
                ended || self.plan.until == SendEnd::Answered
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
            if let Some((stream, at)) = member.and_then(FlowMember::next_call) {
                self.send(net, sent.member, stream, at);
            }
        }
        if ended {
            self.ended(net, sent.member, now);
        }
    }

    /// Ends a send; in a closed loop the next one begins.
    fn ended(&mut self, net: &mut ClientNet, sender: u32, now: u64) {
        self.open = self.open.saturating_sub(1);
        if matches!(self.plan.pace, SendPace::Closed(_)) && now < self.tally.end() {
            self.begin_send(net, sender, now);
        }
    }

    fn push(&mut self, net: &mut ClientNet, id: ConnId, packet: &ServerPacket<'_>) {
        let ear = self.members.on(id).map(|member| member.ear);
        let (Some(pushed), Some(ear)) = (read_push(packet.data), ear) else {
            let note = || "a push that cannot be read".to_owned();
            self.judge.note(FindingKind::Connection, note);
            return;
        };
        let ack = AckBody {
            seq: pushed.seq,
            at: self.today,
        };
        net.send(id, PackageType::PtMessage, 0, &ack);
        let Some(heard) = self.judge.observe_push(ear, &pushed) else {
            return;
        };
        let now = clock::now();
        let reach = self.waves.reached(heard.stream, heard.number);
        self.tally.delivered(heard.at, now, reach.last);
        if let Some(sender) = reach.ended
            && self.plan.until == SendEnd::Delivered
        {
            self.ended(net, sender, now);
        }
    }

    /// Begins the sends that are due.
    fn due(&mut self, net: &mut ClientNet, now: u64) {
        let Some(mut schedule) = self.schedule else {
            return;
        };
        for _ in 0..BURST {
            if self.open >= MAX_SENDS_IN_FLIGHT || schedule.next() >= self.tally.end() {
                break;
            }
            let Some(at) = schedule.due(now) else { break };
            if let Some(sender) = self.members.next_sender() {
                self.begin_send(net, sender, at);
            }
        }
        self.schedule = Some(schedule);
    }

    fn heartbeat(&mut self, net: &mut ClientNet, now: u64) {
        if now >= self.next_heartbeat {
            self.next_heartbeat = now + HEARTBEAT;
            for member in self.members.iter() {
                net.send(member.conn, PackageType::PtHeartbeat, 0, &RawBody(&[]));
            }
        }
    }
}

impl ConnectionActor for FlowActor {
    fn packet(&mut self, net: &mut ClientNet, id: ConnId, packet: &ServerPacket<'_>) {
        if packet.is(PackageType::PtMessage) {
            self.push(net, id, packet);
        } else if packet.is(PackageType::PtSend) {
            let how = match packet.code {
                0 => Ok(answered_seq(packet.data)),
                4 => Err((SendFailure::Unknown, packet.refusal())),
                _ => Err((SendFailure::Refused, packet.refusal())),
            };
            self.settle(net, slot_of(packet.request_id), Some(id), how);
        } else if packet.code != 0 || packet.is(PackageType::PtClose) {
            let text = format!("a packet of type {}: {}", packet.kind, packet.refusal());
            self.judge.note(FindingKind::Connection, || text);
        }
    }

    fn closed(&mut self, _net: &mut ClientNet, id: ConnId, why: &str) {
        let text = format!("connection {id} was lost: {why}");
        self.judge.note(FindingKind::Connection, || text);
    }

    fn tick(&mut self, net: &mut ClientNet, now: u64) -> Option<u64> {
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
        let full = self.open >= MAX_SENDS_IN_FLIGHT;
        let schedule = self.schedule.as_ref().filter(|_| !full);
        Some(schedule.map_or(milestone, |schedule| schedule.next().min(milestone)))
    }
}
