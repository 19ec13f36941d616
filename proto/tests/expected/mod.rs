//! The content of each golden packet, built from the generated types.

use std::collections::BTreeMap;

use bytes::Bytes;
use gimlet_proto::pb;
use pb::PackageType as Pt;
use prost::Message as _;

const REQUEST: i64 = 1_652_227_200_123_456_789;
const SENT: i64 = 1_652_227_200_000;
const EPOCH: u64 = 0x9E37_79B9_7F4A_7C15;

/// Returns the packets from clients, by name.
pub(crate) fn inputs() -> BTreeMap<&'static str, pb::Input> {
    BTreeMap::from([
        ("sign_in", input(Pt::PtSignIn, REQUEST, &sign_in("0", 0))),
        (
            "sign_in_gimlet",
            input(Pt::PtSignIn, 1, &sign_in("secret", 1)),
        ),
        (
            "sync",
            input(Pt::PtSync, REQUEST, &pb::SyncInput { seq: 41 }),
        ),
        (
            "sync_from_nothing",
            input(Pt::PtSync, REQUEST, &pb::SyncInput { seq: 0 }),
        ),
        (
            "heartbeat",
            input(Pt::PtHeartbeat, REQUEST, &pb::Empty::default()),
        ),
        (
            "ack",
            input(
                Pt::PtMessage,
                0,
                &pb::MessageAck {
                    device_ack: 42,
                    receive_time: SENT,
                },
            ),
        ),
        (
            "subscribe_room",
            input(
                Pt::PtSubscribeRoom,
                0,
                &pb::SubscribeRoomInput { room_id: 1, seq: 0 },
            ),
        ),
        (
            "subscribe_room_from",
            input(
                Pt::PtSubscribeRoom,
                REQUEST,
                &pb::SubscribeRoomInput {
                    room_id: 300,
                    seq: 5,
                },
            ),
        ),
        ("send", input(Pt::PtSend, 8, &send("c-1"))),
        ("empty", pb::Input::default()),
    ])
}

/// Returns the packets from the server, by name.
pub(crate) fn outputs() -> BTreeMap<&'static str, pb::Output> {
    BTreeMap::from([
        (
            "sign_in_ok",
            output(Pt::PtSignIn, REQUEST, &pb::Empty::default()),
        ),
        (
            "sign_in_ok_gimlet",
            output(
                Pt::PtSignIn,
                1,
                &pb::SignInOutput {
                    epoch: EPOCH,
                    head: 42,
                },
            ),
        ),
        ("sign_in_refused", refused()),
        ("sync_page", output(Pt::PtSync, REQUEST, &page())),
        (
            "sync_empty",
            output(Pt::PtSync, REQUEST, &pb::SyncOutput::default()),
        ),
        ("sync_page_gimlet", output(Pt::PtSync, 2, &page_gimlet())),
        (
            "heartbeat_ok",
            output(Pt::PtHeartbeat, REQUEST, &pb::Empty::default()),
        ),
        (
            "heartbeat_ok_gimlet",
            output(
                Pt::PtHeartbeat,
                3,
                &pb::HeartbeatOutput {
                    epoch: EPOCH,
                    head: 42,
                },
            ),
        ),
        ("push_text", push(text_to_bob(alice(7, "x"), 43))),
        ("push_add_friend", push(add_friend())),
        ("push_room", push(room_text())),
        (
            "subscribe_room_ok",
            output(Pt::PtSubscribeRoom, 0, &pb::Empty::default()),
        ),
        ("send_ok", output(Pt::PtSend, 8, &sent(false))),
        ("send_repeated", output(Pt::PtSend, 9, &sent(true))),
        (
            "close_shutdown",
            output(
                Pt::PtClose,
                0,
                &pb::CloseOutput {
                    code: pb::CloseCode::ShuttingDown.into(),
                    message: "shutting down".into(),
                    come_back: pb::ComeBack::NowWithJitter.into(),
                    after_ms: 1500,
                },
            ),
        ),
        (
            "close_superseded",
            output(
                Pt::PtClose,
                0,
                &pb::CloseOutput {
                    code: pb::CloseCode::Superseded.into(),
                    message: "signed in elsewhere".into(),
                    come_back: pb::ComeBack::Never.into(),
                    after_ms: 0,
                },
            ),
        ),
    ])
}

/// Returns a text to user 3.
pub(crate) fn send(client_message_id: &str) -> pb::SendMessageReq {
    pb::SendMessageReq {
        receiver_type: pb::ReceiverType::RtUser.into(),
        receiver_id: 3,
        to_user_ids: Vec::new(),
        message_type: pb::MessageType::MtText.into(),
        message_content: hi(),
        send_time: SENT,
        is_persist: true,
        client_message_id: client_message_id.into(),
    }
}

/// Returns the content of most messages in these tests.
pub(crate) fn hi() -> Bytes {
    text("hi")
}

/// Returns the id of the messages that have one.
pub(crate) fn message_id() -> Bytes {
    Bytes::from_static(b"\x01\x8f\x3a\x5c\x7b\x2e\x7c\x4d\x8e\x9f\xa0\xb1\xc2\xd3\xe4\xf5")
}

fn input(kind: Pt, request_id: i64, data: &impl prost::Message) -> pb::Input {
    pb::Input {
        r#type: kind.into(),
        request_id,
        data: data.encode_to_vec().into(),
    }
}

fn output(kind: Pt, request_id: i64, data: &impl prost::Message) -> pb::Output {
    pb::Output {
        r#type: kind.into(),
        request_id,
        data: data.encode_to_vec().into(),
        ..pb::Output::default()
    }
}

fn push(message: pb::Message) -> pb::Output {
    let message = Some(message);
    output(Pt::PtMessage, 0, &pb::MessageSend { message })
}

fn sign_in(token: &str, protocol: u32) -> pb::SignInInput {
    pb::SignInInput {
        device_id: 7,
        user_id: 2,
        token: token.into(),
        protocol,
    }
}

fn refused() -> pb::Output {
    pb::Output {
        code: pb::RefusalCode::Unauthorized.into(),
        message: "please sign in again".into(),
        ..output(Pt::PtSignIn, REQUEST, &pb::Empty::default())
    }
}

fn page() -> pb::SyncOutput {
    let second = pb::Message {
        sender: Some(pb::Sender {
            sender_type: pb::SenderType::StUser.into(),
            sender_id: 3,
            avatar_url: "http://a/2.png".into(),
            nickname: "鲍勃".into(),
            ..pb::Sender::default()
        }),
        receiver_type: pb::ReceiverType::RtGroup.into(),
        receiver_id: 9,
        to_user_ids: vec![2, 300],
        message_type: pb::MessageType::MtText.into(),
        message_content: text("hello 👋"),
        seq: 2,
        send_time: SENT + 1,
        status: pb::MessageStatus::MsNormal.into(),
        message_id: Bytes::new(),
    };
    pb::SyncOutput {
        messages: vec![text_to_bob(alice(0, ""), 1), second],
        has_more: true,
        ..pb::SyncOutput::default()
    }
}

fn page_gimlet() -> pb::SyncOutput {
    pb::SyncOutput {
        messages: vec![pb::Message {
            message_id: message_id(),
            ..text_to_bob(alice(0, ""), 1)
        }],
        has_more: false,
        epoch: EPOCH,
        head: 1,
        floor: 0,
    }
}

fn sent(repeated: bool) -> pb::SendMessageResp {
    pb::SendMessageResp {
        seq: 43,
        message_id: message_id(),
        repeated,
    }
}

fn alice(device_id: i64, extra: &str) -> pb::Sender {
    pb::Sender {
        sender_type: pb::SenderType::StUser.into(),
        sender_id: 2,
        device_id,
        avatar_url: "http://a/1.png".into(),
        nickname: "Alice".into(),
        extra: extra.into(),
    }
}

fn text_to_bob(sender: pb::Sender, seq: i64) -> pb::Message {
    pb::Message {
        sender: Some(sender),
        receiver_type: pb::ReceiverType::RtUser.into(),
        receiver_id: 3,
        message_type: pb::MessageType::MtText.into(),
        message_content: hi(),
        seq,
        send_time: SENT,
        status: pb::MessageStatus::MsNormal.into(),
        ..pb::Message::default()
    }
}

fn room_text() -> pb::Message {
    pb::Message {
        receiver_type: pb::ReceiverType::RtRoom.into(),
        receiver_id: 1,
        status: pb::MessageStatus::MsUnknown.into(),
        ..text_to_bob(alice(7, "x"), 5)
    }
}

fn add_friend() -> pb::Message {
    let push = pb::AddFriendPush {
        friend_id: 2,
        nickname: "Alice".into(),
        avatar_url: "http://a/1.png".into(),
        description: "it is me".into(),
    };
    let command = pb::Command {
        code: pb::PushCode::PcAddFriend.into(),
        data: push.encode_to_vec().into(),
    };
    let system = pb::Sender {
        sender_type: pb::SenderType::StSystem.into(),
        ..pb::Sender::default()
    };
    pb::Message {
        message_type: pb::MessageType::MtCommand.into(),
        message_content: command.encode_to_vec().into(),
        ..text_to_bob(system, 44)
    }
}

fn text(text: &str) -> Bytes {
    pb::Text { text: text.into() }.encode_to_vec().into()
}
