//! The packets of sockets, sent by every kind of caller.

use gimlet_client::{DeviceCredentials, pb};
use gimlet_kit::wire::{RawClient, sign_in};
use pb::PackageType as Kind;
use prost::Message as _;

use crate::callers::{CellUsers, TOKEN_COLUMNS, TestedServer};
use crate::table::{AccessTable, WrongCell, outcome_of_code};

/// Packets that only the server sends, and the type of no packet.
const NOT_OF_CLIENTS: [&str; 2] = ["PT_UNKNOWN", "PT_CLOSE"];

/// Returns the names of the packets that clients send.
pub(crate) fn packets() -> Vec<String> {
    let file = include_str!("../../../proto/proto/pb/connect.ext.proto");
    let types = file.split("enum PackageType {").nth(1);
    let types = types.and_then(|it| it.split('}').next()).expect("an enum");
    let names = types.lines().filter_map(|line| {
        let name = line.trim().split(' ').next()?;
        (name.starts_with("PT_") && !NOT_OF_CLIENTS.contains(&name)).then(|| name.to_owned())
    });
    names.collect()
}

fn outcome(output: &pb::Output) -> String {
    let code = i64::from(output.code);
    if code == 0 {
        return "yes".to_owned();
    }
    let refused = outcome_of_code(code);
    refused.map_or_else(|| format!("{code}: {}", output.message), str::to_owned)
}

/// Writes the packet of a row, and returns the outcome.
async fn exchange(client: &mut RawClient, row: &str, users: &CellUsers) -> String {
    let sent = match AccessTable::operation(row) {
        "PT_SYNC" => {
            let input = pb::SyncInput { seq: 0 };
            client.writer.write(Kind::PtSync, 2, &input).await
        }
        "PT_HEARTBEAT" => client.writer.write(Kind::PtHeartbeat, 2, &()).await,
        "PT_SUBSCRIBE_ROOM" => {
            let input = pb::SubscribeRoomInput { room_id: 1, seq: 0 };
            client.writer.write(Kind::PtSubscribeRoom, 2, &input).await
        }
        "PT_SEND" => {
            let text = pb::Text { text: "hi".into() };
            let input = pb::SendMessageReq {
                receiver_type: pb::ReceiverType::RtGroup.into(),
                receiver_id: users.group.parse().expect("an id"),
                message_type: 1,
                message_content: text.encode_to_vec().into(),
                send_time: 1,
                is_persist: true,
                client_message_id: "one".into(),
                ..pb::SendMessageReq::default()
            };
            client.writer.write(Kind::PtSend, 2, &input).await
        }
        "PT_MESSAGE" => {
            let ack = pb::MessageAck {
                device_ack: 1,
                ..pb::MessageAck::default()
            };
            // It has no answer, so a packet follows that has one.
            let written = client.writer.write(Kind::PtMessage, 2, &ack).await;
            written.expect("an open connection");
            client.writer.write(Kind::PtHeartbeat, 3, &()).await
        }
        other => panic!("{other} has no request in tests/tests/authorization/socket.rs"),
    };
    sent.expect("an open connection");
    let answer = client.answer().await.expect("an answer");
    match (AccessTable::operation(row), outcome(&answer).as_str()) {
        ("PT_MESSAGE", "401") => "ignored".to_owned(),
        (_, outcome) => outcome.to_owned(),
    }
}

/// Sends each packet of the table as each kind of caller; returns the wrong cells.
pub(crate) async fn wrong_cells(server: &TestedServer, table: &AccessTable) -> Vec<WrongCell> {
    let mut wrong = Vec::new();
    for row in table.rows.keys() {
        for column in TOKEN_COLUMNS {
            let users = CellUsers::new(server).await;
            let mut client = RawClient::tcp(server.tcp()).await.expect("a connection");
            let is_sign_in = row == "PT_SIGN_IN";
            let mut signed_in = None;
            if column != "no token" || is_sign_in {
                let who = if column == "no token" {
                    DeviceCredentials {
                        token: String::new(),
                        ..users.credentials("member")
                    }
                } else {
                    users.credentials(column)
                };
                let input = sign_in(&who, 1);
                let written = client.writer.write(Kind::PtSignIn, 1, &input).await;
                written.expect("an open connection");
                let answer = client.answer().await.expect("an answer");
                signed_in = Some(outcome(&answer));
            }
            let outcome = match signed_in {
                Some(outcome) if is_sign_in => outcome,
                _ => exchange(&mut client, row, &users).await,
            };
            wrong.extend(table.compare(row, column, &outcome));
        }
    }
    wrong
}
