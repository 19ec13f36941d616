//! Probes of the loopback: echo, connecting, and a room's fan-out, with minimal tokio servers and
//! the client program of the scenarios.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use gimlet_proto::pb::{self, PackageType};
use prost::Message as _;

use super::bare::{BareServer, BareServerKind};
use super::{MeasuredLimit, ProbePass};
use super::{ProbeOutcome, ProbeShape, cpu};
use crate::clock::{self, SECOND};
use crate::net::{
    ClientNet, ConnId, ConnectTarget, ConnectionActor, RawBody, ServerPacket, SourceAddresses,
    WireFraming, drive,
};
use crate::room_subscribers::{MemberSection, RoomPace, RoomResults, gather, threads};
use crate::scenario::{AT_ONCE, split};

/// Bytes of the data of an echoed packet; its frame has about 120 bytes.
pub(super) const DATA: usize = 110;

/// Room id of the bare fan-out.
const ROOM: i64 = 1;

/// Measures echoes on `connections` connections with `outstanding` frames of each in flight.
pub fn echo(
    shape: ProbeShape,
    connections: usize,
    outstanding: usize,
) -> ProbeOutcome<MeasuredLimit> {
    let server = BareServer::start(BareServerKind::Echo)?;
    let mut net = net(&server)?;
    let mut echo = EchoClient::new(Some(&server), connections, outstanding);
    echo.spans = (0..shape.passes.max(1)).map(|_| shape.span).collect();
    drive(&mut net, &mut echo)?;
    let passes = echo.passes()?;
    let name = format!("echo {connections}x{outstanding}");
    let what = "bare tokio over loopback, all complete frames in one write";
    Ok(MeasuredLimit::of(name, "frames/s", &passes, what))
}

/// Opens connections, with a frame there and back on each, and keeps them open.
pub(crate) fn open(
    place: ConnectTarget,
    connections: usize,
    at_once: usize,
) -> ProbeOutcome<ClientNet> {
    let mut net = ClientNet::new(place)?;
    let mut echo = EchoClient::new(None, connections, 1);
    echo.at_once = at_once;
    drive(&mut net, &mut echo)?;
    echo.passes()?;
    Ok(net)
}

/// Measures one room of `members` members, `burst` messages at a time: the faster of two ways of
/// writing.
pub fn room(shape: ProbeShape, members: usize, burst: u64) -> ProbeOutcome<MeasuredLimit> {
    let queue = room_by(BareServerKind::Queue, shape, members, burst)?;
    let direct = room_by(BareServerKind::Direct, shape, members, burst)?;
    Ok(if queue.value > direct.value {
        queue
    } else {
        direct
    })
}

/// Measures the same with one way of writing.
pub fn room_by(
    kind: BareServerKind,
    shape: ProbeShape,
    members: usize,
    burst: u64,
) -> ProbeOutcome<MeasuredLimit> {
    let server = BareServer::start(kind)?;
    let mut sections = Vec::new();
    for share in split(members, threads()) {
        let mut net = net(&server)?;
        let mut hello = EchoClient::new(Some(&server), share, 1);
        drive(&mut net, &mut hello)?;
        hello.passes()?;
        let members = hello.open.iter().map(|conn| (*conn, 0)).collect();
        sections.push(MemberSection { net, members });
    }
    let mut publisher = TcpStream::connect(server.addr)?;
    publisher.set_nodelay(true)?;
    publisher.write_all(&[0, 1, b'P'])?;
    let (mut seq, mut passes) = (0, Vec::new());
    for _ in 0..shape.passes.max(1) {
        let seen = room_pass(
            &server,
            &mut sections,
            &mut publisher,
            &mut seq,
            shape,
            burst,
        )?;
        passes.push(seen);
    }
    let (way, what) = match kind {
        BareServerKind::Queue => ("queue", "bare tokio, a task and a queue per member"),
        _ => ("direct", "bare tokio, written by the publisher's task"),
    };
    let name = format!("room {members}, {burst} at a time, {way}");
    Ok(MeasuredLimit::of(name, "deliveries/s", &passes, what))
}

fn room_pass(
    server: &BareServer,
    sections: &mut [MemberSection],
    publisher: &mut TcpStream,
    seq: &mut i64,
    shape: ProbeShape,
    burst: u64,
) -> ProbeOutcome<ProbePass> {
    let pace = RoomPace {
        burst,
        rate: None,
        warm_up: shape.span / 10,
        span: shape.span,
    };
    let mut used = [None, None];
    let mut marks = |begin: bool| {
        let [before, after] = &mut used;
        let now = if begin { before } else { after };
        *now = cpu::used(server.id());
    };
    let publish = Box::new(|_: usize, contents: Vec<Vec<u8>>| {
        let mut bytes = Vec::new();
        for content in contents {
            *seq += 1;
            frame(&mut bytes, *seq, content)?;
        }
        Ok(publisher.write_all(&bytes)?)
    });
    let RoomResults {
        deliveries,
        span,
        findings,
        ..
    } = gather(sections, &[ROOM], pace, publish, &mut marks)?;
    if !findings.is_empty() {
        return Err(format!("the bare fan-out: {}", findings.lines().join("; ")).into());
    }
    let [before, after] = used;
    let cpu = before
        .zip(after)
        .map(|(before, after)| after.saturating_sub(before));
    Ok(ProbePass {
        count: deliveries,
        span,
        cpu,
    })
}

/// Appends a room's message as gimlet encodes it.
fn frame(bytes: &mut Vec<u8>, seq: i64, content: Vec<u8>) -> ProbeOutcome<()> {
    let sender = pb::Sender {
        sender_type: 3,
        ..pb::Sender::default()
    };
    let message = pb::Message {
        sender: Some(sender),
        receiver_type: pb::ReceiverType::RtRoom.into(),
        receiver_id: ROOM,
        message_type: pb::MessageType::MtText.into(),
        message_content: content.into(),
        seq,
        send_time: clock::today(),
        message_id: vec![7; 16].into(),
        ..pb::Message::default()
    };
    let output = pb::Output {
        r#type: PackageType::PtMessage.into(),
        data: pb::MessageSend {
            message: Some(message),
        }
        .encode_to_vec()
        .into(),
        ..pb::Output::default()
    };
    bytes.extend(u16::try_from(output.encoded_len())?.to_be_bytes());
    Ok(output.encode(bytes)?)
}

fn net(server: &BareServer) -> ProbeOutcome<ClientNet> {
    let place = ConnectTarget {
        to: vec![server.addr],
        framing: WireFraming::Tcp,
        from: SourceAddresses::default(),
    };
    Ok(ClientNet::new(place)?)
}

/// Actor that connects, keeps frames in flight on each connection, and counts those that come back.
/// Without a span to count in, it ends when one has come back on each.
struct EchoClient {
    pid: Option<u32>,
    connections: usize,
    outstanding: usize,
    /// Connections that are being set up at a time.
    at_once: usize,
    spans: Vec<Duration>,
    begun: usize,
    open: Vec<ConnId>,
    back: u64,
    /// Start of the current pass, with the frames and the CPU time by then.
    since: Option<(u64, u64, Option<Duration>)>,
    done: Vec<ProbePass>,
    failed: Option<String>,
}

impl EchoClient {
    fn new(server: Option<&BareServer>, connections: usize, outstanding: usize) -> Self {
        Self {
            pid: server.map(BareServer::id),
            connections,
            outstanding,
            at_once: AT_ONCE,
            spans: Vec::new(),
            begun: 0,
            open: Vec::with_capacity(connections),
            back: 0,
            since: None,
            done: Vec::new(),
            failed: None,
        }
    }

    fn passes(&self) -> ProbeOutcome<Vec<ProbePass>> {
        match &self.failed {
            Some(why) => Err(format!("the bare server: {why}").into()),
            None => Ok(self.done.clone()),
        }
    }

    fn say(net: &mut ClientNet, id: ConnId) {
        net.send(id, PackageType::PtHeartbeat, 0, &RawBody(&[7; DATA]));
    }

    /// Ends a pass that is over and begins the next; returns `false` after the last.
    fn count(&mut self, now: u64) -> bool {
        let Some(span) = self.spans.get(self.done.len()) else {
            return false;
        };
        let Some((since, back, cpu)) = self.since else {
            self.since = Some((now, self.back, self.pid.and_then(cpu::used)));
            return true;
        };
        if now - since >= clock::nanos(*span) {
            let used = self.pid.and_then(cpu::used);
            let cpu = used
                .zip(cpu)
                .map(|(used, before)| used.saturating_sub(before));
            let (count, span) = (self.back - back, Duration::from_nanos(now - since));
            self.done.push(ProbePass { count, span, cpu });
            self.since = Some((now, self.back, used));
        }
        self.done.len() < self.spans.len()
    }
}

impl ConnectionActor for EchoClient {
    fn opened(&mut self, net: &mut ClientNet, id: ConnId) {
        self.open.push(id);
        (0..self.outstanding).for_each(|_| Self::say(net, id));
    }

    fn packet(&mut self, net: &mut ClientNet, id: ConnId, _packet: &ServerPacket<'_>) {
        self.back += 1;
        if !self.spans.is_empty() {
            Self::say(net, id);
        }
    }

    fn closed(&mut self, _net: &mut ClientNet, _id: ConnId, why: &str) {
        self.failed = Some(why.to_owned());
    }

    fn tick(&mut self, net: &mut ClientNet, now: u64) -> Option<u64> {
        let came = usize::try_from(self.back).unwrap_or(usize::MAX);
        while self.begun < self.connections && self.begun < came.saturating_add(self.at_once) {
            match net.connect() {
                Ok(_) => self.begun += 1,
                Err(error) => {
                    self.failed = Some(error.to_string());
                    break;
                }
            }
        }
        let all = self.open.len() == self.connections && came >= self.connections;
        if self.failed.is_some() || (all && !self.count(now)) {
            return None;
        }
        Some(now + SECOND / 100)
    }
}
