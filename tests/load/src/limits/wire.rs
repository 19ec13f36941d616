//! Probes of the loopback: echo, connecting, and a room's fan-out, with minimal tokio servers and
//! the client program of the scenarios.

use std::io::Write as _;
use std::net::TcpStream;

use gimlet_proto::pb::{self, PackageType};
use prost::Message as _;

use super::bare::{BareServer, BareServerKind};
use super::{MeasuredLimit, ProbeOutcome, ProbePass, ProbeShape};
use crate::client_process::split;
use crate::echo_client::EchoClient;
use crate::net::{ClientNet, ConnectTarget, SourceAddresses, WireFraming, drive};
use crate::room_subscribers::{MemberSection, RoomPace, RoomResults, gather, threads};
use crate::{clock, cpu};

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
    let mut echo = EchoClient::new(Some(server.id()), connections, outstanding);
    echo.spans = (0..shape.passes.max(1)).map(|_| shape.span).collect();
    drive(&mut net, &mut echo)?;
    let passes = echo.passes()?;
    let name = format!("echo {connections}x{outstanding}");
    let what = "bare tokio over loopback, all complete frames in one write";
    Ok(MeasuredLimit::of(name, "frames/s", &passes, what))
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
        let mut hello = EchoClient::new(Some(server.id()), share, 1);
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
