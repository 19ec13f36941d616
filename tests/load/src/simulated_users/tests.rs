//! Reactions of the simulated users to faults of a server.

use std::io;

use super::*;
use crate::net::{ConnectTarget, SourceAddresses, WireFraming};
use crate::slots::request_of;

/// Creates two users who are live on connections 0 and 1, and write to each other.
fn pair() -> io::Result<(ClientNet, SimulatedUsers)> {
    let place = ConnectTarget {
        to: Vec::new(),
        framing: WireFraming::Tcp,
        from: SourceAddresses::default(),
    };
    let account = |user| TestAccount {
        user,
        device: user,
        token: String::new(),
    };
    let mut users = SimulatedUsers::new((0..2).map(account).collect(), 1);
    users.goal = UserGoal::Sat {
        until: 0,
        heartbeat_nanos: 1,
    };
    for (at, conn) in [(0, 0), (1, 1)] {
        users.people.join(at, conn);
        users.coming.connects();
        users.people.get_mut(at).expect("a person").stage = UserStage::Live;
        users.coming.arrives(0);
        users.writes_to(at, 1 - at);
    }
    users.people.set_left(1);
    Ok((ClientNet::new(place)?, users))
}

fn packet(kind: PackageType, code: i32, message: &str) -> ServerPacket<'_> {
    ServerPacket {
        kind: kind.into(),
        code,
        message: message.as_bytes(),
        ..ServerPacket::default()
    }
}

#[test]
fn the_first_reason_is_kept() -> io::Result<()> {
    let (mut net, mut users) = pair()?;
    users.packet(&mut net, 0, &packet(PackageType::PtSync, 7, "one"));
    users.packet(&mut net, 1, &packet(PackageType::PtSync, 8, "two"));
    assert_eq!(users.failed.as_deref(), Some("request refused: 7 one"));
    Ok(())
}

#[test]
fn a_lost_connection_is_reported_with_the_servers_reason() -> io::Result<()> {
    let (mut net, mut users) = pair()?;
    let said = pb::CloseOutput {
        code: 4102,
        message: "too slow".to_owned(),
        ..pb::CloseOutput::default()
    };
    let said = said.encode_to_vec();
    let close = ServerPacket {
        data: &said,
        ..packet(PackageType::PtClose, 0, "")
    };
    users.packet(&mut net, 0, &close);
    assert_eq!(users.failed, None, "it is not lost yet");
    users.closed(&mut net, 0, "closed");
    let why = "a connection was lost: closed, after the server said 4102 too slow";
    assert_eq!(users.failed.take().as_deref(), Some(why));
    users.closed(&mut net, 1, "reset");
    let why = "a connection was lost: reset";
    assert_eq!(users.failed.as_deref(), Some(why), "nothing was said to it");
    Ok(())
}

#[test]
fn an_answer_on_anothers_connection_is_misdirected() -> io::Result<()> {
    let (mut net, mut users) = pair()?;
    users.write(&mut net, 0);
    let answer = ServerPacket {
        request_id: request_of(0),
        ..packet(PackageType::PtSend, 0, "")
    };
    users.packet(&mut net, 1, &answer);
    assert!(users.failed.is_some());
    assert_eq!(users.sends.in_flight(), 1, "its sender has no answer");
    users.packet(&mut net, 0, &answer);
    assert_eq!(users.sends.in_flight(), 0);
    assert_eq!(users.verdict().count(FindingKind::Misdirected), 1);
    Ok(())
}
