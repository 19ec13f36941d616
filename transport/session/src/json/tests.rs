//! Packets in JSON: what is read, what is refused, and what is written.

use std::sync::Arc;

use bytes::Bytes;
use gimlet_core::envelope::Envelope;
use gimlet_core::gateway::SyncPage;
use gimlet_core::id::{Epoch, GroupId, RoomId, UserId};
use gimlet_core::message::{Message, MessageContent, MessageReceiver, UserProfile};
use gimlet_core::seq::Seq;
use gimlet_core::store::Head;
use gimlet_json::{JsonObject, RequestFields};
use gimlet_proto::pb;
use serde_json::{Value, json};

use super::packets::{InboxPage, RefusalPacket};
use super::*;
use crate::dispatch::{ClientPacket, ClientRequest};
use crate::encode;
use crate::encode::tests::envelope;

/// Longest text that the server sends, as docs/websocket-json.md states it.
const MAX_TEXT_LEN: usize = 400_000;

fn packet(text: &Value) -> ClientPacket {
    read(text.to_string().as_bytes()).unwrap()
}

fn refused(text: &Value) -> String {
    packet(text).into_request().unwrap_err().to_string()
}

fn value(frame: &Bytes) -> Value {
    serde_json::from_slice(frame).unwrap()
}

/// Reads a packet of the server by its declaration.
fn declared<T: JsonObject>(frame: &Bytes) -> T {
    let mut value = value(frame);
    let fields = value.as_object_mut().unwrap();
    for around in ["type", "request_id"] {
        fields.remove(around);
    }
    RequestFields::of_body(value).unwrap().read().unwrap()
}

#[test]
fn a_send_is_the_packet_of_protobuf() {
    let read = packet(&json!({
        "type": "send", "request_id": 5, "to_group": "9223372036854775807",
        "content": {"type": "text", "text": "hi"}, "client_message_id": "c-1",
        "mentions": ["2", 3], "store": false, "sent_at_ms": 1_652_227_200_000_i64,
    }));
    assert_eq!((read.kind, read.request_id), (16, 5));
    let Ok(ClientRequest::Send(request)) = read.into_request() else {
        panic!("it is a send");
    };
    let expected = pb::SendMessageReq {
        receiver_type: 2,
        receiver_id: i64::MAX,
        to_user_ids: vec![2, 3],
        message_type: 1,
        message_content: Bytes::from_static(b"\x0a\x02hi"),
        send_time: 1_652_227_200_000,
        is_persist: false,
        client_message_id: "c-1".into(),
    };
    assert_eq!(request, expected);
    let read = packet(&json!({"type": "send", "to_user": 2,
        "content": {"type": "text", "text": "hi"}}));
    let Ok(ClientRequest::Send(request)) = read.into_request() else {
        panic!("it is a send");
    };
    assert!(request.is_persist, "a message is stored by default");
    assert_eq!(request.receiver_type, 1);
}

#[test]
fn the_other_packets_are_read() {
    for text in [
        json!({"type": "sign_in", "request_id": 1, "token": "2.7.a.b"}),
        json!({"type": "sign_in", "token": "a.b", "user_id": "2", "device_id": "7"}),
    ] {
        let Ok(ClientRequest::SignIn(input)) = packet(&text).into_request() else {
            panic!("it is a sign-in");
        };
        assert_eq!(
            (input.user_id, input.device_id, &*input.token),
            (2, 7, "a.b")
        );
        assert_eq!(input.protocol, 1);
    }
    let seq = |text| match packet(&text).into_request() {
        Ok(ClientRequest::Sync(input)) => input.seq,
        other => panic!("{other:?} is not a sync"),
    };
    assert_eq!(seq(json!({"type": "sync"})), 0);
    assert_eq!(seq(json!({"type": "sync", "after": "7"})), 7);
    let ack = packet(&json!({"type": "ack", "seq": "7"}));
    assert_eq!(ack.kind, 4, "the session answers no packet of this kind");
    let room = |text| match packet(&text).into_request() {
        Ok(ClientRequest::Subscribe(input)) => (input.room_id, input.seq),
        other => panic!("{other:?} is not a subscription"),
    };
    assert_eq!(
        room(json!({"type": "subscribe_room", "room_id": "9", "from": 3})),
        (9, 3)
    );
    assert_eq!(room(json!({"type": "subscribe_room"})), (0, 0));
    let heartbeat = packet(&json!({"type": "heartbeat"}));
    assert_eq!((heartbeat.kind, heartbeat.request_id), (3, 0));
}

#[test]
fn a_wrong_field_is_refused_by_name_with_what_would_be_right() {
    let content = json!({"type": "text", "text": "hi"});
    for (text, words) in [
        (
            json!({"type": "sned"}),
            "type is \"sned\"; it must be one of sign_in, sync, heartbeat",
        ),
        (
            json!({"request_id": 1}),
            "type is missing; it must be one of",
        ),
        (json!({"type": 16}), "type is 16; it must be one of"),
        (json!({"type": "sync", "afetr": "1"}), "did you mean after?"),
        (
            json!({"type": "sync", "after": 9_007_199_254_740_992_u64}),
            "send it as a string",
        ),
        (
            json!({"type": "sync", "after": -1}),
            "after is -1; it must be a seq",
        ),
        (
            json!({"type": "sync", "after": true}),
            "after is true; it must be a seq",
        ),
        (
            json!({"type": "heartbeat", "x": 1}),
            "this request has no fields",
        ),
        (json!({"type": "sign_in"}), "token is missing"),
        (
            json!({"type": "sign_in", "token": "t"}),
            "token names no user and no device",
        ),
        (
            json!({"type": "sign_in", "token": "t", "user_id": "1"}),
            "device_id is missing",
        ),
        (
            json!({"type": "send", "content": content}),
            "to_user and to_group are missing",
        ),
        (
            json!({"type": "send", "to_user": "1", "to_group": "1", "content": content}),
            "to_user and to_group are both set",
        ),
        (
            json!({"type": "send", "to_user": "1", "content": {"type": "txt"}}),
            "content.type is \"txt\"; it must be one of text",
        ),
        (
            json!({"type": "send", "to_user": "1", "content": {"type": "text", "text": 5}}),
            "content.text is 5; it must be a string",
        ),
        (
            json!({"type": "send", "to_user": "1", "content": content, "client_message_id": ""}),
            "client_message_id is empty",
        ),
        (
            json!({"type": "send", "to_user": "1", "content": content, "mentions": ["2", 0]}),
            "mentions[1] is 0",
        ),
        (
            json!({"type": "send", "to_user": "1", "content": content,
            "sent_at_ms": 9_007_199_254_740_992_i64}),
            "sent_at_ms is 9007199254740992; it must be",
        ),
    ] {
        let refusal = refused(&text);
        assert!(refusal.contains(words), "{text}: {refusal}");
    }
    let refusal = refused(&json!({"type": "sign_in", "token": "secret"}));
    assert!(!refusal.contains("secret"), "{refusal}");
}

#[test]
fn a_wrong_ack_is_answered() {
    let wrong = packet(&json!({"type": "ack", "request_id": 3, "sqe": "1"}));
    assert_eq!((wrong.kind, wrong.request_id), (0, 3));
    assert!(
        wrong
            .into_request()
            .unwrap_err()
            .to_string()
            .contains("did you mean seq?")
    );
}

#[test]
fn a_frame_that_is_not_a_packet_is_refused_with_its_request_id_if_it_has_one() {
    for (frame, id, words) in [
        (&b"hello"[..], 0, "the frame is not a JSON text"),
        (b"", 0, "the frame is not a JSON text"),
        (b"{\"request_id\":7}{}", 0, "the frame is not a JSON text"),
        (b"{\"a\":\"\xff\"}", 0, "the frame is not a JSON text"),
        (
            b"[1]",
            0,
            "the packet is an array; it must be an object such as",
        ),
        (
            b"{\"type\":\"sync\",\"request_id\":7,\"after\":1,\"after\":2}",
            7,
            "after is given twice",
        ),
        (
            b"{\"request_id\":\"7\"}",
            0,
            "request_id is \"7\"; it must be a number from 1",
        ),
        (
            b"{\"request_id\":0}",
            0,
            "request_id is 0; it must be a number from 1",
        ),
        (
            b"{\"request_id\":9007199254740992}",
            0,
            "request_id is 9007199254740992; it must be",
        ),
        (b"{\"request_id\":1.5}", 0, "request_id is 1.5; it must be"),
    ] {
        let (refusal, read_id) = read(frame).unwrap_err();
        assert!(refusal.to_string().contains(words), "{refusal}");
        assert_eq!((refusal.code(), read_id), (10_001, id));
    }
    assert!(read(&vec![b'['; 100_000]).is_err(), "nesting is bounded");
}

fn pushed(receiver: MessageReceiver, seq: u64, request_id: i64) -> Value {
    let envelope = envelope(receiver, 1_652_227_200_000, 5);
    value(&push(&envelope, Seq::new(seq), request_id).unwrap())
}

#[test]
fn a_push_tells_its_kind_by_its_type() {
    let user = MessageReceiver::User(UserId::new(3).unwrap());
    let group = MessageReceiver::Group(GroupId::new(9).unwrap());
    let room = MessageReceiver::Room(RoomId::new(4).unwrap());
    let entry = pushed(user, 7, 0);
    assert_eq!(
        (&entry["type"], &entry["seq"]),
        (&json!("message"), &json!("7"))
    );
    assert_eq!(entry["message"]["receiver"]["user_id"], "3");
    assert_eq!(entry.get("request_id"), None);
    let live = pushed(group, 0, 0);
    assert_eq!((&live["type"], live.get("seq")), (&json!("live"), None));
    let everyone = pushed(MessageReceiver::Everyone, 0, 0);
    assert_eq!(everyone["type"], "live");
    let in_room = pushed(room, 8, 0);
    assert_eq!(
        (&in_room["type"], &in_room["room_id"], &in_room["seq"]),
        (&json!("room"), &json!("4"), &json!("8"))
    );
    assert_eq!(pushed(user, 7, 55)["request_id"], 55);
    let large = pushed(user, 7, i64::MAX);
    assert_eq!(large["request_id"], "9223372036854775807");
    assert_eq!(pushed(user, 7, -5)["request_id"], -5);
}

/// An envelope whose text grows as much as JSON can make it grow: each byte is written as six.
fn worst_envelope(content: usize, nickname: usize) -> Envelope {
    let user = MessageReceiver::User(UserId::new(3).unwrap());
    let given = envelope(user, i64::MAX, 0);
    let text = pb::Custom {
        data: "\u{1}".repeat(content),
    };
    let message = Message {
        kind: pb::MessageType::MtCustom.into(),
        content: MessageContent::copied_from(&prost::Message::encode_to_vec(&text)),
        ..Message::clone(&given.message)
    };
    let profile = UserProfile {
        nickname: "\u{1}".repeat(nickname),
        ..UserProfile::default()
    };
    Envelope::new(Arc::new(message), Arc::new(profile), 0)
}

#[test]
fn what_protobuf_carries_is_carried_and_the_text_is_bounded() {
    let seq = Seq::new(u64::MAX >> 1);
    for (content, nickname, shows_name) in [
        (61_000, 4_000, true),
        (61_000, 60_000, false),
        (65_300, 60_000, false),
        (66_000, 0, false),
    ] {
        let envelope = worst_envelope(content, nickname);
        let protobuf = encode::push(&envelope, seq, 0, true);
        let json = push(&envelope, seq, 0);
        assert_eq!(protobuf.is_some(), json.is_some(), "{content} {nickname}");
        let Some(json) = json else { continue };
        assert!(json.len() <= MAX_TEXT_LEN, "{}", json.len());
        let json = value(&json);
        assert_eq!(
            json["message"]["sender"].get("nickname").is_some(),
            shows_name
        );
        assert_eq!(
            json["message"]["content"]["data"].as_str().unwrap().len(),
            content
        );
    }
}

fn page(sizes: &[usize]) -> SyncPage {
    let to = MessageReceiver::User(UserId::new(3).unwrap());
    let numbered = (1..).zip(sizes);
    let items: Vec<_> = numbered
        .map(|(n, size)| {
            (
                Seq::new(n),
                Arc::new(envelope(to, 1_652_227_200_000, *size)),
            )
        })
        .collect();
    SyncPage {
        from: Seq::ZERO,
        upto: Seq::new(items.len() as u64),
        items,
        more: false,
        epoch: Epoch(u64::MAX),
        head: Head {
            head: Seq::new(1000),
            floor: Seq::new(2),
        },
    }
}

#[test]
fn a_page_is_the_declared_object_and_is_cut_where_the_text_ends() {
    let answer = synced(&page(&[10, 10]), 9);
    assert_eq!(value(&answer.frame)["request_id"], 9);
    let whole: InboxPage = declared(&answer.frame);
    assert_eq!((whole.entries.len(), whole.more), (2, false));
    assert_eq!(
        (whole.head.get(), whole.floor.get(), whole.epoch.0),
        (1000, 2, u64::MAX)
    );
    assert_eq!(
        (answer.last, answer.upto, answer.more),
        (Some(Seq::new(2)), Seq::new(2), false)
    );
    let answer = synced(&page(&[30_000; 10]), 0);
    let cut: InboxPage = declared(&answer.frame);
    let sent = cut.entries.len() as u64;
    assert!((1..10).contains(&sent), "{sent}");
    assert_eq!(
        (answer.upto, answer.more, cut.more),
        (Seq::new(sent), true, true)
    );
    assert!(answer.frame.len() <= 65_535 || sent == 1);
    let answer = synced(&page(&[61_440, 10]), 0);
    let single: InboxPage = declared(&answer.frame);
    assert_eq!((single.entries.len(), answer.upto), (1, Seq::new(1)));
    let answer = synced(&page(&[66_000, 10]), 0);
    let rest: InboxPage = declared(&answer.frame);
    assert_eq!(
        (rest.entries.len(), answer.upto),
        (1, Seq::new(2)),
        "one cannot be sent"
    );
    let answer = synced(&page(&[]), 0);
    assert_eq!((answer.last, answer.more), (None, false));
}

#[test]
fn a_refusal_names_the_packet_and_the_time_to_wait() {
    let retry_after = std::time::Duration::from_millis(1_200);
    let limited = gimlet_core::error::RequestRefusal::RateLimited { retry_after };
    let frame = refusal(16, 5, &limited);
    assert_eq!(value(&frame)["type"], "send");
    assert_eq!(value(&frame)["request_id"], 5);
    let RefusalPacket { error } = declared(&frame);
    assert_eq!((error.code, error.retry_after_ms), (8, Some(1_200)));
    for kind in [0, 4, 17, 99] {
        assert_eq!(value(&refusal(kind, 0, &limited))["type"], "error");
    }
}

#[test]
fn a_close_tells_whether_to_come_back() {
    let close = crate::close::ConnectionClose {
        after: std::time::Duration::from_secs(3),
        ..crate::close::ConnectionClose::new(pb::CloseCode::ShuttingDown, "stopping")
    };
    let expected = json!({"type": "close", "code": 4000, "reason": "stopping", "come_back": "now",
        "retry_after_ms": 3000});
    assert_eq!(value(&closed(&close)), expected);
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    fn check(part: &Value, document: &Value) {
        match part {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let target = document.pointer(reference.trim_start_matches('#'));
                    assert!(target.is_some(), "{reference}");
                }
                fields.values().for_each(|part| check(part, document));
            }
            Value::Array(parts) => parts.iter().for_each(|part| check(part, document)),
            _ => {}
        }
    }
    let document = document();
    check(&document, &document);
    for (word, _) in super::packets::REQUEST_WORDS {
        assert_eq!(document["operations"][word]["action"], "receive", "{word}");
    }
}
