//! The stored form of messages, shared by inbox rows, message rows and room items.
//!
//! One byte of version, then fixed-width big-endian fields, then the variable-length parts, each
//! with its length before it. A reader refuses a record that it does not know; it never guesses.
//!
//! | version 1 of a message | bytes |
//! |---|---|
//! | version = 1 | 1 |
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

use bytes::{Buf, BufMut, Bytes};
use gimlet_core::envelope::Envelope;
use gimlet_core::id::{DeviceId, GroupId, MessageId, RoomId, UserId};
use gimlet_core::message::{Content, Message, Profile, Receiver, Sender};
use gimlet_core::time::Timestamp;

const VERSION: u8 = 1;

/// Bytes of a message without its mentions and content.
pub(crate) const FIXED: usize = 1 + 16 + 17 + 9 + 12 + 4 + 4;

/// Error for a record that this version cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored message cannot be read: {0}")]
pub(crate) struct Unreadable(&'static str);

/// Encodes a message.
pub(crate) fn encode(message: &Message) -> Vec<u8> {
    let mut out = Vec::with_capacity(FIXED + message.mentions.len() * 8 + message.content.len());
    put_message(&mut out, message);
    out
}

/// Decodes a message. Its content shares `raw`'s buffer; a caller that keeps it for long copies it.
pub(crate) fn decode(raw: impl Into<Bytes>) -> Result<Message, Unreadable> {
    let mut raw = raw.into();
    let message = take_message(&mut raw)?;
    end(&raw)?;
    Ok(message)
}

/// Encodes a message with its sender's profile.
pub(crate) fn encode_envelope(envelope: &Envelope) -> Vec<u8> {
    let mut out = Vec::with_capacity(FIXED + envelope.weight());
    put_message(&mut out, &envelope.message);
    out.put_i64(envelope.request_id);
    put_bytes(&mut out, envelope.profile.nickname.as_bytes());
    put_bytes(&mut out, envelope.profile.avatar_url.as_bytes());
    put_bytes(&mut out, envelope.profile.extra.as_bytes());
    out
}

/// Decodes a message with its sender's profile.
pub(crate) fn decode_envelope(raw: impl Into<Bytes>) -> Result<Envelope, Unreadable> {
    let mut raw = raw.into();
    let message = take_message(&mut raw)?;
    need(&raw, 8)?;
    let request_id = raw.get_i64();
    let profile = Profile {
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

fn put_message(out: &mut Vec<u8>, message: &Message) {
    out.put_u8(VERSION);
    out.put_slice(message.id.as_bytes());
    let (tag, user, device) = match message.sender {
        Sender::System => (0, 0, 0),
        Sender::User { user, device } => (1, user.get(), device.map_or(0, DeviceId::get)),
        Sender::Business => (2, 0, 0),
    };
    out.put_u8(tag);
    out.put_u64(user);
    out.put_u64(device);
    let (tag, id) = match message.receiver {
        Receiver::User(user) => (1, user.get()),
        Receiver::Group(group) => (2, group.get()),
        Receiver::Room(room) => (3, room.get()),
        Receiver::Everyone => (4, 0),
    };
    out.put_u8(tag);
    out.put_u64(id);
    out.put_i32(message.kind);
    out.put_i64(message.sent_at.0);
    put_len(out, message.mentions.len());
    for user in &message.mentions {
        out.put_u64(user.get());
    }
    put_bytes(out, &message.content.0);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.put_slice(bytes);
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    out.put_u32(u32::try_from(len).expect("frames bound every part far below 4 GiB"));
}

fn take_message(raw: &mut Bytes) -> Result<Message, Unreadable> {
    need(raw, FIXED - 4)?;
    if raw.get_u8() != VERSION {
        return Err(Unreadable("it has another version"));
    }
    let mut id = [0; 16];
    raw.copy_to_slice(&mut id);
    let sender = take_sender(raw)?;
    let receiver = take_receiver(raw)?;
    let kind = raw.get_i32();
    let sent_at = Timestamp(raw.get_i64());
    let count = len(raw)?;
    need(raw, count.saturating_mul(8))?;
    let mentions: Result<Vec<UserId>, Unreadable> = (0..count)
        .map(|_| UserId::new(raw.get_u64()).ok_or(BAD_ID))
        .collect();
    Ok(Message {
        id: MessageId::from_bytes(id),
        sender,
        receiver,
        mentions: mentions?,
        kind,
        content: Content(take_bytes(raw)?),
        sent_at,
    })
}

const BAD_ID: Unreadable = Unreadable("it holds an id out of range");

fn take_sender(raw: &mut Bytes) -> Result<Sender, Unreadable> {
    let (tag, user, device) = (raw.get_u8(), raw.get_u64(), raw.get_u64());
    match tag {
        0 => Ok(Sender::System),
        1 => Ok(Sender::User {
            user: UserId::new(user).ok_or(BAD_ID)?,
            device: DeviceId::new(device),
        }),
        2 => Ok(Sender::Business),
        _ => Err(Unreadable("it has an unknown kind of sender")),
    }
}

fn take_receiver(raw: &mut Bytes) -> Result<Receiver, Unreadable> {
    let (tag, id) = (raw.get_u8(), raw.get_u64());
    match tag {
        1 => UserId::new(id).map(Receiver::User).ok_or(BAD_ID),
        2 => GroupId::new(id).map(Receiver::Group).ok_or(BAD_ID),
        3 => RoomId::new(id).map(Receiver::Room).ok_or(BAD_ID),
        4 => Ok(Receiver::Everyone),
        _ => Err(Unreadable("it has an unknown kind of receiver")),
    }
}

fn take_text(raw: &mut Bytes) -> Result<String, Unreadable> {
    let bytes = take_bytes(raw)?;
    String::from_utf8(bytes.into()).map_err(|_| Unreadable("a text is not UTF-8"))
}

fn take_bytes(raw: &mut Bytes) -> Result<Bytes, Unreadable> {
    let len = len(raw)?;
    need(raw, len)?;
    Ok(raw.split_to(len))
}

fn len(raw: &mut Bytes) -> Result<usize, Unreadable> {
    need(raw, 4)?;
    usize::try_from(raw.get_u32()).map_err(|_| SHORT)
}

const SHORT: Unreadable = Unreadable("it ends too early");

fn need(raw: &Bytes, len: usize) -> Result<(), Unreadable> {
    if raw.remaining() < len {
        Err(SHORT)
    } else {
        Ok(())
    }
}

fn end(raw: &Bytes) -> Result<(), Unreadable> {
    if raw.is_empty() {
        Ok(())
    } else {
        Err(Unreadable("it has bytes after its end"))
    }
}

#[cfg(test)]
mod tests;
