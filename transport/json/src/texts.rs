//! JSON texts of messages for many receivers: the message is written once, and each receiver's seq is
//! put in front of it.

use gimlet_core::envelope::Envelope;
use gimlet_core::id::RoomId;
use gimlet_core::seq::Seq;
use serde_json::Value;

use crate::declaration::JsonType;
use crate::message::MessageInfo;

/// Writes a value as JSON text.
#[must_use]
pub fn to_text(value: &impl JsonType) -> String {
    value.write().unwrap_or(Value::Null).to_string()
}

/// Returns the message as JSON text, which is written once for all its receivers.
#[must_use]
pub fn message_text(envelope: &Envelope) -> &str {
    envelope.json_text(|it| to_text(&MessageInfo::of(it)).into())
}

/// Returns an entry of an inbox as JSON text, as [`EntryInfo`](crate::EntryInfo) describes it.
#[must_use]
pub fn entry_text(seq: Seq, envelope: &Envelope) -> String {
    let message = message_text(envelope);
    format!(r#"{{"seq":"{}","message":{message}}}"#, seq.get())
}

/// Returns a message of a room as JSON text, as [`RoomMessageInfo`](crate::RoomMessageInfo) describes
/// it.
#[must_use]
pub fn room_text(room: RoomId, seq: Seq, envelope: &Envelope) -> String {
    let message = message_text(envelope);
    let (room, seq) = (room.get(), seq.get());
    format!(r#"{{"room_id":"{room}","seq":"{seq}","message":{message}}}"#)
}

/// Returns a message outside the inbox as JSON text, as [`LiveMessageInfo`](crate::LiveMessageInfo)
/// describes it.
#[must_use]
pub fn live_text(envelope: &Envelope) -> String {
    format!(r#"{{"message":{}}}"#, message_text(envelope))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gimlet_core::id::{MessageId, UserId};
    use gimlet_core::message::{
        Message, MessageContent, MessageReceiver, MessageSender, UnknownFields, UserProfile,
    };
    use gimlet_core::time::UnixTimestamp;
    use serde_json::from_str;

    use super::*;
    use crate::message::{EntryInfo, LiveMessageInfo, RoomMessageInfo};

    fn envelope() -> Envelope {
        let message = Message {
            id: MessageId::generate(),
            sender: MessageSender::User {
                user: UserId::new(2).unwrap(),
                device: None,
            },
            receiver: MessageReceiver::User(UserId::new(3).unwrap()),
            mentions: vec![UserId::new(u64::MAX >> 1).unwrap()],
            kind: 1,
            content: MessageContent::copied_from(b"\x0a\x05hi \"\n"),
            sent_at: UnixTimestamp(1_652_227_200_000),
            unknown: UnknownFields::NONE,
        };
        let profile = UserProfile {
            nickname: "Al\"ice".into(),
            ..UserProfile::default()
        };
        Envelope::new(Arc::new(message), Arc::new(profile), 0)
    }

    #[test]
    fn the_texts_are_those_of_the_declared_objects() {
        let (envelope, seq, room) = (envelope(), Seq::new(7), RoomId::new(9).unwrap());
        let read = |text: String| Some(from_str::<Value>(&text).unwrap());
        let entry = EntryInfo::of(seq, &envelope);
        assert_eq!(read(entry_text(seq, &envelope)), entry.write());
        let live = LiveMessageInfo {
            message: MessageInfo::of(&envelope),
        };
        assert_eq!(read(live_text(&envelope)), live.write());
        let in_room = RoomMessageInfo {
            room_id: room,
            seq,
            message: MessageInfo::of(&envelope),
        };
        assert_eq!(read(room_text(room, seq, &envelope)), in_room.write());
    }

    #[test]
    fn a_message_is_written_once() {
        let envelope = envelope();
        let first = message_text(&envelope).as_ptr();
        assert_eq!(message_text(&envelope).as_ptr(), first);
    }
}
