//! Compares the frames that sessions write with the golden bytes that other implementations read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gimlet_core::envelope::Envelope;
use gimlet_core::gateway::SyncPage;
use gimlet_core::id::{DeviceId, Epoch, GroupId, MessageId, RoomId, UserId};
use gimlet_core::message::{
    Message, MessageContent, MessageReceiver, MessageSender, UnknownFields, UserProfile,
};
use gimlet_core::send_future::SendReceipt;
use gimlet_core::seq::Seq;
use gimlet_core::store::Head;
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::pb::{self, CloseCode};
use prost::Message as _;

use crate::close::ConnectionClose;
use crate::{convert, encode, page};

const REQUEST: i64 = 1_652_227_200_123_456_789;
const SENT: i64 = 1_652_227_200_000;
const EPOCH: u64 = 11_400_714_819_323_198_485;
const ID: [u8; 16] = *b"\x01\x8f\x3a\x5c\x7b\x2e\x7c\x4d\x8e\x9f\xa0\xb1\xc2\xd3\xe4\xf5";

/// Returns the golden packet with that name, without its two-byte length.
fn golden(name: &str) -> Vec<u8> {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/vectors/wire.json")).unwrap();
    let packets = vectors["packets"].as_array().unwrap();
    let packet = packets.iter().find(|p| p["name"] == name).unwrap();
    let hex = packet["frame"].as_str().unwrap();
    let bytes = (4..hex.len()).step_by(2);
    bytes
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn user(raw: u64) -> UserId {
    UserId::new(raw).unwrap()
}

fn text(text: &str) -> MessageContent {
    let text = pb::Text { text: text.into() };
    MessageContent(text.encode_to_vec().into())
}

fn alice(receiver: MessageReceiver, extra: &str) -> Arc<Envelope> {
    let message = Message {
        id: MessageId::from_bytes(ID),
        sender: MessageSender::User {
            user: user(2),
            device: DeviceId::new(7),
        },
        receiver,
        mentions: Vec::new(),
        kind: 1,
        content: text("hi"),
        sent_at: UnixTimestamp(SENT),
        unknown: UnknownFields::NONE,
    };
    let profile = UserProfile {
        nickname: "Alice".into(),
        avatar_url: "http://a/1.png".into(),
        extra: extra.into(),
    };
    Arc::new(Envelope::new(Arc::new(message), Arc::new(profile), 0))
}

fn bob() -> Arc<Envelope> {
    let message = Message {
        id: MessageId::from_bytes(ID),
        sender: MessageSender::User {
            user: user(3),
            device: DeviceId::new(8),
        },
        receiver: MessageReceiver::Group(GroupId::new(9).unwrap()),
        mentions: vec![user(2), user(300)],
        kind: 1,
        content: text("hello 👋"),
        sent_at: UnixTimestamp(SENT + 1),
        unknown: UnknownFields::NONE,
    };
    let profile = UserProfile {
        nickname: "鲍勃".into(),
        avatar_url: "http://a/2.png".into(),
        extra: String::new(),
    };
    Arc::new(Envelope::new(Arc::new(message), Arc::new(profile), 0))
}

fn page_of(items: Vec<Arc<Envelope>>, more: bool) -> SyncPage {
    SyncPage {
        from: Seq::ZERO,
        upto: Seq::new(items.len() as u64),
        items: (1..).map(Seq::new).zip(items).collect(),
        more,
        epoch: Epoch(EPOCH),
        head: Head {
            head: Seq::new(1),
            floor: Seq::ZERO,
        },
    }
}

#[test]
fn pushes() {
    let envelope = alice(MessageReceiver::User(user(3)), "x");
    let frame = encode::push(&envelope, Seq::new(43), 0, false).unwrap();
    assert_eq!(frame, golden("push_text"));
    let envelope = alice(MessageReceiver::Room(RoomId::new(1).unwrap()), "x");
    let frame = encode::push(&envelope, Seq::new(5), 0, false).unwrap();
    assert_eq!(frame, golden("push_room"));
}

#[test]
fn pages() {
    let to_bob = || alice(MessageReceiver::User(user(3)), "");
    let page = page_of(vec![to_bob(), bob()], true);
    let answer = page::answer(&page, REQUEST, false, true);
    assert_eq!(answer.frame, golden("sync_page"));
    let answer = page::answer(&page_of(Vec::new(), false), REQUEST, false, false);
    assert_eq!(answer.frame, golden("sync_empty"));
}

#[test]
fn a_page_for_a_client_of_ours_names_the_device_and_the_message() {
    let page = page_of(vec![alice(MessageReceiver::User(user(3)), "")], false);
    let frame = page::answer(&page, 2, true, false).frame;
    // The golden page is of a message whose device is not known.
    let mut output = pb::Output::decode(frame).unwrap();
    let mut data = pb::SyncOutput::decode(output.data).unwrap();
    let sender = data.messages[0].sender.as_mut().unwrap();
    assert_eq!(std::mem::take(&mut sender.device_id), 7);
    output.data = data.encode_to_vec().into();
    assert_eq!(output.encode_to_vec(), golden("sync_page_gimlet"));
}

#[test]
fn answers() {
    for (name, kind, id) in [
        ("sign_in_ok", 1, REQUEST),
        ("heartbeat_ok", 3, REQUEST),
        ("subscribe_room_ok", 5, 0),
    ] {
        assert_eq!(encode::answer(kind, id, Bytes::new()), golden(name));
    }
    for (name, id, repeated) in [("send_ok", 8, false), ("send_repeated", 9, true)] {
        let sent = SendReceipt {
            seq: Seq::new(43),
            message: MessageId::from_bytes(ID),
            repeated,
        };
        let data = convert::sent(&sent).encode_to_vec();
        assert_eq!(encode::answer(16, id, data.into()), golden(name));
    }
}

#[test]
fn closes() {
    let close = ConnectionClose {
        after: Duration::from_millis(1500),
        ..ConnectionClose::new(CloseCode::ShuttingDown, "shutting down")
    };
    assert_eq!(close.frame(), golden("close_shutdown"));
    let close = ConnectionClose::new(CloseCode::Superseded, "signed in elsewhere");
    assert_eq!(close.frame(), golden("close_superseded"));
}
