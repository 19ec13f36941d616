//! Packets: gim's fields into those of the JSON API and back.

use std::io;

use bytes::Bytes;
use gimlet_proto::pb::{self, PackageType as Kind};
use serde_json::{Map, Value, json};

use super::contents;
use super::fields::{flag, integer, number, part, text};
use super::frames::untranslatable;

/// Returns the message of a packet or an entry, with its seq.
pub(super) fn message(packet: &Value) -> io::Result<pb::Message> {
    let message = part(packet, "message");
    let (sender, receiver) = (part(message, "sender"), part(message, "receiver"));
    let sender_type = match &*text(sender, "type") {
        "user" => pb::SenderType::StUser,
        "business" => pb::SenderType::StBusiness,
        "system" => pb::SenderType::StSystem,
        _ => return Err(untranslatable(packet)),
    };
    let (receiver_type, receiver_id) = match &*text(receiver, "type") {
        "user" => (pb::ReceiverType::RtUser, number(receiver, "user_id")?),
        "group" => (pb::ReceiverType::RtGroup, number(receiver, "group_id")?),
        "room" => (pb::ReceiverType::RtRoom, number(receiver, "room_id")?),
        "everyone" => (pb::ReceiverType::RtRoom, 0),
        _ => return Err(untranslatable(packet)),
    };
    let mentions = message.get("mentions").and_then(Value::as_array);
    let mentions = mentions.into_iter().flatten();
    let (message_type, content) = contents::from_json(part(message, "content"))?;
    Ok(pb::Message {
        sender: Some(pb::Sender {
            sender_type: sender_type.into(),
            sender_id: number(sender, "user_id")?,
            device_id: 0,
            avatar_url: text(sender, "avatar_url"),
            nickname: text(sender, "nickname"),
            extra: text(sender, "extra"),
        }),
        receiver_type: receiver_type.into(),
        receiver_id,
        to_user_ids: mentions
            .filter_map(|user| user.as_str()?.parse().ok())
            .collect(),
        message_type,
        message_content: content.into(),
        seq: number(packet, "seq")?,
        send_time: integer(message, "sent_at_ms"),
        status: 0,
        message_id: uuid(&text(message, "id"))?,
    })
}

fn uuid(text: &str) -> io::Result<Bytes> {
    let digits: String = text.chars().filter(|it| *it != '-').collect();
    let number = u128::from_str_radix(&digits, 16).map_err(|_| untranslatable(text))?;
    Ok(Bytes::copy_from_slice(&number.to_be_bytes()))
}

/// Returns a push of this message.
pub(super) fn push(message: pb::Message) -> pb::Output {
    let data = pb::MessageSend {
        message: Some(message),
    };
    answer(Kind::PtMessage.into(), 0, &data)
}

/// Returns a successful answer.
pub(super) fn answer(kind: i32, request_id: i64, data: &impl prost::Message) -> pb::Output {
    pb::Output {
        r#type: kind,
        request_id,
        data: data.encode_to_vec().into(),
        ..pb::Output::default()
    }
}

/// Returns the answer to a refused packet. An error of JSON and a problem of HTTP have the same fields.
pub(super) fn refusal(kind: i32, request_id: i64, error: &Value) -> pb::Output {
    let code = error.get("code").and_then(Value::as_i64);
    pb::Output {
        r#type: kind,
        request_id,
        code: code.and_then(|it| it.try_into().ok()).unwrap_or(-1),
        message: text(error, "detail"),
        data: Bytes::new(),
        retry_after_ms: integer(error, "retry_after_ms"),
    }
}

/// Returns a page of the inbox.
pub(super) fn page(page: &Value) -> io::Result<pb::SyncOutput> {
    let entries = page.get("entries").and_then(Value::as_array);
    Ok(pb::SyncOutput {
        messages: entries
            .into_iter()
            .flatten()
            .map(message)
            .collect::<io::Result<_>>()?,
        has_more: flag(page, "more"),
        epoch: number(page, "epoch")?.cast_unsigned(),
        head: number(page, "head")?,
        floor: number(page, "floor")?,
    })
}

/// Returns the answer to a send.
pub(super) fn sent(answer: &Value) -> io::Result<pb::SendMessageResp> {
    Ok(pb::SendMessageResp {
        seq: number(answer, "seq")?,
        message_id: uuid(&text(answer, "message_id"))?,
        repeated: flag(answer, "repeated"),
    })
}

/// Returns the packet that announces the end of a connection.
pub(super) fn close(close: &Value, come_back: pb::ComeBack) -> pb::Output {
    let code = close.get("code").and_then(Value::as_i64);
    let data = pb::CloseOutput {
        code: code.and_then(|it| it.try_into().ok()).unwrap_or_default(),
        message: text(close, "reason"),
        come_back: come_back.into(),
        after_ms: integer(close, "retry_after_ms"),
    };
    answer(Kind::PtClose.into(), 0, &data)
}

/// Writes a send, without its client message id.
pub(super) fn draft(send: &pb::SendMessageReq) -> io::Result<Map<String, Value>> {
    let receiver = match send.receiver_type() {
        pb::ReceiverType::RtUser => "to_user",
        pb::ReceiverType::RtGroup => "to_group",
        pb::ReceiverType::RtRoom | pb::ReceiverType::RtUnknown => {
            return Err(untranslatable(format!("{send:?}")));
        }
    };
    let mentions = send.to_user_ids.iter().map(ToString::to_string);
    let mut draft = Map::new();
    draft.insert(receiver.into(), send.receiver_id.to_string().into());
    let content = contents::to_json(send.message_type, &send.message_content);
    draft.insert("content".into(), content);
    draft.insert("mentions".into(), mentions.collect::<Vec<_>>().into());
    draft.insert("store".into(), json!(send.is_persist));
    draft.insert("sent_at_ms".into(), json!(send.send_time));
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_becomes_a_message() {
        let entry = json!({"seq": "7", "message": {
            "id": "01020304-0506-0708-090a-0b0c0d0e0f10",
            "sender": {"type": "user", "user_id": "2", "nickname": "Alice"},
            "receiver": {"type": "group", "group_id": "9"},
            "mentions": ["3"], "content": {"type": "text", "text": "hi"},
            "sent_at": "…", "sent_at_ms": 5,
        }});
        let message = message(&entry).unwrap();
        let sender = message.sender.clone().unwrap();
        assert_eq!((sender.sender_id, &*sender.nickname), (2, "Alice"));
        assert_eq!(
            (message.receiver_type, message.receiver_id, message.seq),
            (2, 9, 7)
        );
        assert_eq!((message.to_user_ids, message.send_time), (vec![3], 5));
        assert_eq!(message.message_id, (1..=16).collect::<Vec<u8>>());
    }
}
