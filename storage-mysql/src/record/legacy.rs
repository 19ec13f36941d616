//! Reads format 1, which every release before `gimlet-record` wrote: a byte 1, then fixed-width
//! big-endian fields, then the parts of variable length, each after its length. It is no longer
//! written.
//!
//! Inbox rows are kept forever by default, so this file can be removed only with a migration that
//! rewrites them.
//!
//! | a message | bytes |
//! |---|---|
//! | format = 1 | 1 |
//! | id | 16 |
//! | sender: 0 system, 1 user, 2 business; user; device (0: none) | 1 + 8 + 8 |
//! | receiver: 1 user, 2 group, 3 room, 4 everyone; its id | 1 + 8 |
//! | kind, time sent | 4 + 8 |
//! | number of mentions, each mentioned user | 4 + 8 n |
//! | content with its length | 4 + n |
//!
//! An envelope is a message followed by the request id (8) and nickname, picture and extra of the
//! profile, each with its length (4 + n).

use std::sync::Arc;

use bytes::{Buf, Bytes};
use gimlet_core::envelope::Envelope;
use gimlet_core::id::{DeviceId, GroupId, MessageId, RoomId, UserId};
use gimlet_core::message::{
    Message, MessageContent, MessageReceiver, MessageSender, UnknownFields, UserProfile,
};
use gimlet_core::time::UnixTimestamp;

use super::error::RecordDecodeError;

/// The first byte of a record of format 1.
pub(super) const FORMAT: u8 = 1;

/// Bytes of a message beside its mentions and content.
pub(super) const FIXED: usize = 1 + 16 + 17 + 9 + 12 + 4 + 4;

const BAD_ID: RecordDecodeError = RecordDecodeError::Legacy("it holds an id out of range");
const SHORT: RecordDecodeError = RecordDecodeError::Legacy("it ends too early");

/// Decodes a message.
pub(super) fn decode(mut raw: Bytes) -> Result<Message, RecordDecodeError> {
    let message = take_message(&mut raw)?;
    end(&raw)?;
    Ok(message)
}

/// Decodes a message with its sender's profile.
pub(super) fn decode_envelope(mut raw: Bytes) -> Result<Envelope, RecordDecodeError> {
    let message = take_message(&mut raw)?;
    need(&raw, 8)?;
    let request_id = raw.get_i64();
    let profile = UserProfile {
        nickname: take_text(&mut raw)?,
        avatar_url: take_text(&mut raw)?,
        extra: take_text(&mut raw)?,
    };
    end(&raw)?;
    Ok(Envelope::new(
        Arc::new(message),
        Arc::new(profile),
        request_id,
    ))
}

fn take_message(raw: &mut Bytes) -> Result<Message, RecordDecodeError> {
    need(raw, FIXED - 4)?;
    // The caller has looked at the format.
    raw.advance(1);
    let mut id = [0; 16];
    raw.copy_to_slice(&mut id);
    let sender = take_sender(raw)?;
    let receiver = take_receiver(raw)?;
    let kind = raw.get_i32();
    let sent_at = UnixTimestamp(raw.get_i64());
    let count = len(raw)?;
    need(raw, count.saturating_mul(8))?;
    let mentions: Result<Vec<UserId>, RecordDecodeError> = (0..count)
        .map(|_| UserId::new(raw.get_u64()).ok_or(BAD_ID))
        .collect();
    Ok(Message {
        id: MessageId::from_bytes(id),
        sender,
        receiver,
        mentions: mentions?,
        kind,
        content: MessageContent(take_bytes(raw)?),
        sent_at,
        unknown: UnknownFields::NONE,
    })
}

fn take_sender(raw: &mut Bytes) -> Result<MessageSender, RecordDecodeError> {
    let (tag, user, device) = (raw.get_u8(), raw.get_u64(), raw.get_u64());
    match tag {
        0 => Ok(MessageSender::System),
        1 => Ok(MessageSender::User {
            user: UserId::new(user).ok_or(BAD_ID)?,
            device: DeviceId::new(device),
        }),
        2 => Ok(MessageSender::Business),
        _ => Err(RecordDecodeError::Legacy(
            "it has an unknown kind of sender",
        )),
    }
}

fn take_receiver(raw: &mut Bytes) -> Result<MessageReceiver, RecordDecodeError> {
    let (tag, id) = (raw.get_u8(), raw.get_u64());
    match tag {
        1 => UserId::new(id).map(MessageReceiver::User).ok_or(BAD_ID),
        2 => GroupId::new(id).map(MessageReceiver::Group).ok_or(BAD_ID),
        3 => RoomId::new(id).map(MessageReceiver::Room).ok_or(BAD_ID),
        4 => Ok(MessageReceiver::Everyone),
        _ => Err(RecordDecodeError::Legacy(
            "it has an unknown kind of receiver",
        )),
    }
}

fn take_text(raw: &mut Bytes) -> Result<String, RecordDecodeError> {
    let bytes = take_bytes(raw)?;
    String::from_utf8(bytes.into()).map_err(|_| RecordDecodeError::Legacy("a text is not UTF-8"))
}

fn take_bytes(raw: &mut Bytes) -> Result<Bytes, RecordDecodeError> {
    let len = len(raw)?;
    need(raw, len)?;
    Ok(raw.split_to(len))
}

fn len(raw: &mut Bytes) -> Result<usize, RecordDecodeError> {
    need(raw, 4)?;
    usize::try_from(raw.get_u32()).map_err(|_| SHORT)
}

fn need(raw: &Bytes, len: usize) -> Result<(), RecordDecodeError> {
    if raw.remaining() < len {
        Err(SHORT)
    } else {
        Ok(())
    }
}

fn end(raw: &Bytes) -> Result<(), RecordDecodeError> {
    if raw.is_empty() {
        Ok(())
    } else {
        Err(RecordDecodeError::Legacy("it goes on behind its end"))
    }
}
