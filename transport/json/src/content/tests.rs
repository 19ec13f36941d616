//! Contents there and back.

use gimlet_core::message::MessageContent;
use gimlet_proto::pb;
use prost::Message as _;
use serde_json::{Value, json};

use super::*;

fn read(json: Value) -> Result<JsonContent, WrongValue> {
    JsonContent::read(json, ValueSource::Body)
}

#[test]
fn a_content_comes_back_as_it_was_sent() {
    for json in [
        json!({"type": "text", "text": "hi \u{1f600}"}),
        json!({"type": "face", "face_id": "9223372036854775807", "face_url": "f"}),
        json!({"type": "voice", "id": "v", "size": 5, "duration": -1, "url": "u"}),
        json!({"type": "image", "width": 640, "height": 480, "url": "u"}),
        json!({"type": "file", "id": "4", "name": "n", "size": "5", "url": "u"}),
        json!({"type": "location", "desc": "d", "latitude": -1.5, "longitude": 0.0}),
        json!({"type": "command", "code": 1000, "data": "AAEC"}),
        json!({"type": "custom", "data": "{}"}),
        json!({"type": "bytes", "kind": 99, "data": "/w=="}),
    ] {
        let (kind, bytes) = read(json.clone()).unwrap().encode().unwrap();
        assert_eq!(JsonContent::decode(kind, &bytes).write(), Some(json));
    }
}

#[test]
fn a_text_is_stored_as_gims_clients_store_it() {
    let content = read(json!({"type": "text", "text": "hi"})).unwrap();
    let (kind, bytes) = content.encode().unwrap();
    assert_eq!((kind, &bytes.0[..]), (1, &b"\x0a\x02hi"[..]));
}

#[test]
fn bytes_that_the_fields_would_not_reproduce_are_shown_as_bytes() {
    // A text with a second field, broken protobuf, and a kind without a name.
    for (kind, bytes) in [
        (1, &b"\x0a\x02hi\x10\x01"[..]),
        (1, b"hi"),
        (9, b"x"),
        (0, b""),
    ] {
        let shown = JsonContent::decode(kind, &MessageContent::copied_from(bytes));
        let shown = shown.write().unwrap();
        assert_eq!(shown["type"], "bytes");
        assert_eq!(shown["kind"], kind);
        let (back, same) = read(shown).unwrap().encode().unwrap();
        assert_eq!((back, &same.0[..]), (kind, bytes));
    }
}

#[test]
fn a_wrong_content_is_refused_with_the_right_one() {
    for (json, words) in [
        (json!("hi"), "is \"hi\"; it must be an object such as"),
        (
            json!({"text": "hi"}),
            "is missing; it must be one of text, face",
        ),
        (json!({"type": "txt"}), "is \"txt\"; it must be one of text"),
        (json!({"type": "text"}), "is missing"),
        (
            json!({"type": "text", "text": 5}),
            "is 5; it must be a string",
        ),
        (json!({"type": "text", "tex": "hi"}), "did you mean text?"),
        (json!({"type": "bytes", "kind": 1, "data": "?"}), "base64"),
    ] {
        let text = format!("{:?}", read(json).unwrap_err()).replace("\\\"", "\"");
        assert!(text.contains(words), "{text}");
    }
    // Only what may be sent is offered.
    let text = format!("{:?}", read(json!({"type": "txt"})).unwrap_err());
    assert!(!text.contains("group_updated"), "{text}");
    assert!(text.contains("custom, bytes"), "{text}");
    let push = json!({"type": "group_member_removed", "operator_id": "1",
        "operator_name": "", "user_id": "2"});
    let refused = read(push).unwrap().encode().unwrap_err();
    assert!(format!("{refused:?}").contains("only the server sends"));
}

#[test]
fn a_message_of_the_system_has_names() {
    let data = pb::RemoveGroupMemberPush {
        opt_id: 1,
        opt_name: "alice".into(),
        deleted_user_id: 2,
    };
    let command = pb::Command {
        code: 121,
        data: data.encode_to_vec().into(),
    };
    let content = MessageContent::copied_from(&command.encode_to_vec());
    let shown = JsonContent::decode(7, &content).write().unwrap();
    assert_eq!(shown["type"], "group_member_removed");
    assert_eq!(
        (&shown["operator_id"], &shown["user_id"]),
        (&json!("1"), &json!("2"))
    );
}
