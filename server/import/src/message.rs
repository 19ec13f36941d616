//! Converts the message of an entry, and makes the fillers of skipped seqs.

use bytes::Bytes;
use gimlet_core::id::{DeviceId, GroupId, MessageId, UserId};
use gimlet_core::message::{
    Message, MessageContent, MessageReceiver, MessageSender, UnknownFields,
};
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::pb;
use sha2::{Digest as _, Sha256};

use crate::pushed::{self, PushedMessage};
use crate::rows::{EntryRow, MessageColumns, RowBody};

/// Returns the message of an entry in the inbox of `owner`.
///
/// # Errors
/// The reason why the row is not a message.
pub(crate) fn convert(owner: UserId, row: &EntryRow) -> Result<Message, String> {
    let sent_at = row
        .sent_at
        .filter(|it| *it >= 0)
        .ok_or_else(|| "its time is not a date since 1970".to_owned())?;
    let (message, mentions) = match &row.body {
        RowBody::Columns(columns) => (of_columns(columns)?, mentions(&columns.mentions)?),
        RowBody::Pushed2023 { code, content } => {
            (pushed::read_2023(owner, *code, content)?, Vec::new())
        }
        RowBody::Pushed2025 { code, content } => {
            (pushed::read_2025(owner, *code, content)?, Vec::new())
        }
        RowBody::Missing => return Err("its message does not exist".to_owned()),
    };
    let id = copies_id(&message, row.request_id, sent_at);
    Ok(Message {
        id,
        sender: message.sender,
        receiver: message.receiver,
        mentions,
        kind: message.kind,
        content: MessageContent(message.content),
        sent_at: UnixTimestamp(sent_at),
        unknown: UnknownFields::NONE,
    })
}

/// Returns the message for a seq that gim has skipped: a command of the system without a code and
/// without data, which clients of gim and of gimlet do not show.
pub(crate) fn filler(owner: UserId, seq: u64, at: UnixTimestamp) -> Message {
    let mut hash = Sha256::new();
    hash.update(b"filler");
    hash.update(owner.get().to_be_bytes());
    hash.update(seq.to_be_bytes());
    Message {
        id: id(at.0, hash.finalize().into()),
        sender: MessageSender::System,
        receiver: MessageReceiver::User(owner),
        mentions: Vec::new(),
        kind: pb::MessageType::MtCommand.into(),
        content: MessageContent(Bytes::new()),
        sent_at: at,
        unknown: UnknownFields::NONE,
    }
}

fn of_columns(row: &MessageColumns) -> Result<PushedMessage, String> {
    let sender = match (row.sender_type, UserId::new(row.sender_id)) {
        (1, _) => MessageSender::System,
        (2, Some(user)) => MessageSender::User {
            user,
            // gim does not store it.
            device: None::<DeviceId>,
        },
        (3, _) => MessageSender::Business,
        (2, None) => return Err(format!("its sender_id {} is not a user", row.sender_id)),
        (other, _) => return Err(format!("its sender_type {other} is not 1, 2 or 3")),
    };
    let receiver = match row.receiver_type {
        1 => UserId::new(row.receiver_id).map(MessageReceiver::User),
        2 => GroupId::new(row.receiver_id).map(MessageReceiver::Group),
        other => return Err(format!("its receiver_type {other} is not 1 or 2")),
    };
    let receiver = receiver
        .ok_or_else(|| format!("its receiver_id {} is not a user or group", row.receiver_id))?;
    let kind = i32::try_from(row.kind)
        .ok()
        .and_then(|it| pb::MessageType::try_from(it).ok())
        .filter(|it| *it != pb::MessageType::MtUnknown)
        .ok_or_else(|| format!("its type {} is not one of gim's message types", row.kind))?;
    Ok(PushedMessage {
        sender,
        receiver,
        kind: kind.into(),
        content: Bytes::copy_from_slice(&row.content),
    })
}

fn mentions(list: &str) -> Result<Vec<UserId>, String> {
    let ids = list.split(',').filter(|it| !it.is_empty());
    ids.map(|it| {
        let id = it.parse().ok().and_then(UserId::new);
        id.ok_or_else(|| "its to_user_ids is not a list of users".to_owned())
    })
    .collect()
}

/// Returns the id of a message: the same for its copies in all inboxes, since gim has none.
fn copies_id(message: &PushedMessage, request_id: i64, sent_at: i64) -> MessageId {
    let sender = match message.sender {
        MessageSender::System => 0,
        MessageSender::Business => u64::MAX,
        MessageSender::User { user, .. } => user.get(),
    };
    let (kind, receiver) = match message.receiver {
        MessageReceiver::User(user) => (1, user.get()),
        MessageReceiver::Group(group) => (2, group.get()),
        MessageReceiver::Room(_) | MessageReceiver::Everyone => (3, 0),
    };
    let mut hash = Sha256::new();
    for number in [sender, kind, receiver] {
        hash.update(number.to_be_bytes());
    }
    hash.update(request_id.to_be_bytes());
    hash.update(sent_at.to_be_bytes());
    hash.update(message.kind.to_be_bytes());
    hash.update(&message.content);
    id(sent_at, hash.finalize().into())
}

/// Returns a `UUIDv7` of this time, whose random bits come from a hash.
fn id(at_ms: i64, hash: [u8; 32]) -> MessageId {
    let [_, _, t0, t1, t2, t3, t4, t5] = at_ms.to_be_bytes();
    let [h0, h1, h2, h3, h4, h5, h6, h7, h8, h9, ..] = hash;
    let (version, variant) = (0x70 | (h0 & 0x0f), 0x80 | (h2 & 0x3f));
    MessageId::from_bytes([
        t0, t1, t2, t3, t4, t5, version, h1, variant, h3, h4, h5, h6, h7, h8, h9,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: u64) -> UserId {
        UserId::new(n).unwrap()
    }

    fn columns() -> MessageColumns {
        MessageColumns {
            sender_type: 2,
            sender_id: 1,
            receiver_type: 2,
            receiver_id: 5,
            mentions: "2,3".to_owned(),
            kind: 1,
            content: b"hi".to_vec(),
        }
    }

    fn entry(columns: MessageColumns) -> EntryRow {
        EntryRow {
            user: 2,
            user_exists: true,
            seq: 9,
            head: 9,
            request_id: 77,
            sent_at: Some(1_700_000_000_123),
            body: RowBody::Columns(columns),
        }
    }

    #[test]
    fn a_row_is_the_message_that_gim_would_deliver() {
        let message = convert(user(2), &entry(columns())).unwrap();
        assert_eq!(
            message.sender,
            MessageSender::User {
                user: user(1),
                device: None
            }
        );
        let group = GroupId::new(5).unwrap();
        assert_eq!(message.receiver, MessageReceiver::Group(group));
        assert_eq!(message.mentions, [user(2), user(3)]);
        assert_eq!((message.kind, &message.content.0[..]), (1, &b"hi"[..]));
        assert_eq!(message.sent_at, UnixTimestamp(1_700_000_000_123));
        let system = MessageColumns {
            sender_type: 1,
            sender_id: 0,
            receiver_type: 1,
            receiver_id: 2,
            mentions: String::new(),
            kind: 7,
            ..columns()
        };
        let message = convert(user(2), &entry(system)).unwrap();
        assert_eq!(message.sender, MessageSender::System);
        assert_eq!(message.receiver, MessageReceiver::User(user(2)));
        assert!(message.mentions.is_empty());
    }

    #[test]
    fn copies_of_a_message_have_one_id() {
        let mine = convert(user(1), &entry(columns())).unwrap();
        let other = EntryRow {
            user: 1,
            seq: 3,
            ..entry(columns())
        };
        assert_eq!(mine.id, convert(user(2), &other).unwrap().id);
        let mut later = entry(columns());
        later.sent_at = Some(1_700_000_000_124);
        assert_ne!(mine.id, convert(user(2), &later).unwrap().id);
        let [bytes @ .., _, _, _, _, _, _, _, _, _, _] = mine.id.as_bytes();
        let want = 1_700_000_000_123_u64.to_be_bytes();
        assert_eq!(bytes[..], want[2..], "the id is ordered by time");
        assert_eq!(mine.id.as_bytes()[6] >> 4, 7);
    }

    #[test]
    fn a_broken_row_is_refused_with_its_reason() {
        let broken = |change: fn(&mut MessageColumns)| {
            let mut row = columns();
            change(&mut row);
            convert(user(2), &entry(row)).unwrap_err()
        };
        for (text, reason) in [
            (broken(|it| it.kind = 99), "type 99"),
            (broken(|it| it.kind = 0), "type 0"),
            (broken(|it| it.sender_type = 9), "sender_type 9"),
            (broken(|it| it.sender_id = 0), "sender_id 0"),
            (broken(|it| it.receiver_type = 3), "receiver_type 3"),
            (broken(|it| it.receiver_id = u64::MAX), "receiver_id"),
            (broken(|it| it.mentions = "2,x".to_owned()), "to_user_ids"),
        ] {
            assert!(text.contains(reason), "{text}");
        }
        let mut row = entry(columns());
        row.sent_at = None;
        assert!(convert(user(2), &row).unwrap_err().contains("time"));
        row.body = RowBody::Missing;
        row.sent_at = Some(1);
        assert!(convert(user(2), &row).unwrap_err().contains("not exist"));
    }

    #[test]
    fn a_filler_has_no_content() {
        let at = UnixTimestamp(5);
        let filler = filler(user(2), 7, at);
        assert!(filler.content.is_empty());
        assert_eq!((filler.kind, filler.sent_at), (7, at));
        assert_ne!(filler.id, super::filler(user(2), 8, at).id);
    }
}
