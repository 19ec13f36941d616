//! JSON texts of the wire: the client's packets written as JSON, and the server's read into
//! protobuf, which the scenarios understand.
//!
//! Pushes are scanned and not parsed: the generator shares the machine with the server, and a message
//! must cost it little. Everything else is rare.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gimlet_proto::pb::{self, PackageType};
use prost::Message as _;
use serde_json::{Value, json};

/// Writes a packet of the client; `data` is its protobuf.
pub(super) fn packet(kind: PackageType, request_id: i64, data: &[u8]) -> String {
    let mut packet = match kind {
        PackageType::PtSignIn => {
            let it = pb::SignInInput::decode(data).unwrap_or_default();
            let (user, device) = (it.user_id.to_string(), it.device_id.to_string());
            json!({"type": "sign_in", "user_id": user, "device_id": device, "token": it.token})
        }
        PackageType::PtSync => {
            let it = pb::SyncInput::decode(data).unwrap_or_default();
            json!({"type": "sync", "after": it.seq.to_string()})
        }
        PackageType::PtMessage => {
            let it = pb::MessageAck::decode(data).unwrap_or_default();
            json!({"type": "ack", "seq": it.device_ack.to_string()})
        }
        PackageType::PtSubscribeRoom => {
            let it = pb::SubscribeRoomInput::decode(data).unwrap_or_default();
            let room = it.room_id.to_string();
            json!({"type": "subscribe_room", "room_id": room, "from": it.seq.to_string()})
        }
        PackageType::PtSend => send(&pb::SendMessageReq::decode(data).unwrap_or_default()),
        PackageType::PtHeartbeat | PackageType::PtUnknown | PackageType::PtClose => {
            json!({"type": "heartbeat"})
        }
    };
    if let (Some(fields), 1..) = (packet.as_object_mut(), request_id) {
        fields.insert("request_id".into(), request_id.into());
    }
    packet.to_string()
}

fn send(send: &pb::SendMessageReq) -> Value {
    let receiver = match send.receiver_type() {
        pb::ReceiverType::RtGroup => "to_group",
        _ => "to_user",
    };
    let data = STANDARD.encode(&send.message_content);
    let key = Some(&send.client_message_id).filter(|it| !it.is_empty());
    json!({
        "type": "send", (receiver): send.receiver_id.to_string(), "client_message_id": key,
        "content": {"type": "bytes", "kind": send.message_type, "data": data},
        "sent_at_ms": send.send_time,
    })
}

/// Reads a packet of the server; returns it as protobuf, or `None` if it is none.
pub(super) fn encoded(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let is_push = [
        r#"{"type":"message","#,
        r#"{"type":"room","#,
        r#"{"type":"live","#,
    ];
    let output = if is_push.iter().any(|begin| text.starts_with(begin)) {
        let data = pb::MessageSend {
            message: Some(pushed(text)?),
        };
        packet_of(PackageType::PtMessage, 0, &data)
    } else {
        answer(&serde_json::from_str(text).ok()?)?
    };
    Some(output.encode_to_vec())
}

/// Returns what stands between these words.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(begin)?;
    rest.split_once(end).map(|(found, _)| found)
}

/// Scans a message, which has the shape that this program itself sent.
pub(super) fn pushed(text: &str) -> Option<pb::Message> {
    let id = |object: &str, name: &str| between(object, name, "\"").and_then(|it| it.parse().ok());
    let (head, message) = text.split_once(r#""message":"#)?;
    let content = match between(message, r#""content":{"data":""#, "\"") {
        Some(data) => STANDARD.decode(data).ok()?,
        None => written_text(text)?,
    };
    let receiver = between(message, r#""receiver":{"#, "}")?;
    let (receiver_type, receiver_id) = if receiver.contains("room_id") {
        (pb::ReceiverType::RtRoom, id(receiver, r#""room_id":""#)?)
    } else if receiver.contains("group_id") {
        (pb::ReceiverType::RtGroup, id(receiver, r#""group_id":""#)?)
    } else {
        (pb::ReceiverType::RtUser, id(receiver, r#""user_id":""#)?)
    };
    let sender = between(message, r#""sender":{"#, "}")?;
    Some(pb::Message {
        sender: Some(pb::Sender {
            sender_id: id(sender, r#""user_id":""#).unwrap_or(0),
            ..pb::Sender::default()
        }),
        receiver_type: receiver_type.into(),
        receiver_id,
        message_type: 1,
        message_content: content.into(),
        seq: id(head, r#""seq":""#).unwrap_or(0),
        ..pb::Message::default()
    })
}

/// Returns the bytes of a content that happened to be a text.
fn written_text(packet: &str) -> Option<Vec<u8>> {
    let packet: Value = serde_json::from_str(packet).ok()?;
    let text = packet
        .pointer("/message/content/text")?
        .as_str()?
        .to_owned();
    Some(pb::Text { text }.encode_to_vec())
}

fn answer(packet: &Value) -> Option<pb::Output> {
    let number = |name: &str| -> Option<u64> { packet.get(name)?.as_str()?.parse().ok() };
    let seq = |name: &str| number(name).map(u64::cast_signed);
    let id = packet
        .get("request_id")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    let word = packet.get("type")?.as_str()?;
    let kind = match word {
        "sign_in" => PackageType::PtSignIn,
        "sync" => PackageType::PtSync,
        "heartbeat" => PackageType::PtHeartbeat,
        "subscribe_room" => PackageType::PtSubscribeRoom,
        "send" => PackageType::PtSend,
        "close" => PackageType::PtClose,
        _ => PackageType::PtUnknown,
    };
    if let Some(error) = packet.get("error") {
        let small = |name: &str| error.get(name).and_then(Value::as_i64).unwrap_or(0);
        let detail = error.get("detail").and_then(Value::as_str);
        return Some(pb::Output {
            r#type: kind.into(),
            request_id: id,
            code: small("code").try_into().ok()?,
            message: detail.unwrap_or_default().to_owned(),
            retry_after_ms: small("retry_after_ms"),
            ..pb::Output::default()
        });
    }
    Some(match kind {
        PackageType::PtSignIn | PackageType::PtHeartbeat => {
            let (epoch, head) = (number("epoch")?, seq("head")?);
            packet_of(kind, id, &pb::SignInOutput { epoch, head })
        }
        PackageType::PtSync => {
            let entries = packet.get("entries")?.as_array()?.iter();
            let page = pb::SyncOutput {
                messages: entries
                    .map(|entry| pushed(&scanned(entry)))
                    .collect::<Option<_>>()?,
                has_more: packet.get("more")?.as_bool()?,
                epoch: number("epoch")?,
                head: seq("head")?,
                floor: seq("floor")?,
            };
            packet_of(kind, id, &page)
        }
        PackageType::PtSend => {
            let sent = pb::SendMessageResp {
                seq: seq("seq")?,
                ..pb::SendMessageResp::default()
            };
            packet_of(kind, id, &sent)
        }
        PackageType::PtClose => {
            let close = pb::CloseOutput {
                code: packet.get("code")?.as_i64()?.try_into().ok()?,
                message: packet.get("reason")?.as_str()?.to_owned(),
                ..pb::CloseOutput::default()
            };
            packet_of(kind, id, &close)
        }
        PackageType::PtSubscribeRoom => packet_of(kind, id, &pb::Empty {}),
        PackageType::PtMessage | PackageType::PtUnknown => return None,
    })
}

/// Writes an entry of a page in the order that the scan of pushes expects.
fn scanned(entry: &Value) -> String {
    let seq = entry.get("seq").unwrap_or(&Value::Null);
    let message = entry.get("message").unwrap_or(&Value::Null);
    format!(r#"{{"seq":{seq},"message":{message}}}"#)
}

pub(super) fn packet_of(
    kind: PackageType,
    request_id: i64,
    data: &impl prost::Message,
) -> pb::Output {
    pb::Output {
        r#type: kind.into(),
        request_id,
        data: data.encode_to_vec().into(),
        ..pb::Output::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_read_as_its_message() {
        let text = r#"{"type":"message","seq":"12","message":{"content":{"data":"/wA=","kind":1,
            "type":"bytes"},"id":"x","receiver":{"group_id":"9","type":"group"},
            "sender":{"nickname":"n","type":"user","user_id":"7"},"sent_at":"t","sent_at_ms":1}}"#;
        let output = pb::Output::decode(&*encoded(text.as_bytes()).unwrap()).unwrap();
        assert_eq!(output.r#type(), PackageType::PtMessage);
        let push = pb::MessageSend::decode(output.data)
            .unwrap()
            .message
            .unwrap();
        assert_eq!((push.seq, push.receiver_type, push.receiver_id), (12, 2, 9));
        assert_eq!(
            (push.sender.unwrap().sender_id, &push.message_content[..]),
            (7, &[255, 0][..])
        );
    }

    #[test]
    fn answers_and_requests_are_translated() {
        let text = br#"{"type":"send","request_id":5,"error":{"code":8,"detail":"slow"}}"#;
        let output = pb::Output::decode(&*encoded(text).unwrap()).unwrap();
        assert_eq!((output.r#type, output.request_id, output.code), (16, 5, 8));
        let text =
            br#"{"type":"sign_in","request_id":1,"epoch":"18446744073709551615","head":"3"}"#;
        let output = pb::Output::decode(&*encoded(text).unwrap()).unwrap();
        let signed_in = pb::SignInOutput::decode(output.data).unwrap();
        assert_eq!((signed_in.epoch, signed_in.head), (u64::MAX, 3));
        let sync = pb::SyncInput { seq: 7 }.encode_to_vec();
        let text = packet(PackageType::PtSync, 2, &sync);
        assert_eq!(text, r#"{"after":"7","request_id":2,"type":"sync"}"#);
        assert_eq!(encoded(b"{}"), None);
    }
}
