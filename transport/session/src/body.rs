//! `pb.Message` written straight from core's types: no value of the generated type in between.
//!
//! Its lengths are computed first, so that whoever writes it can set aside what it takes. The bytes
//! are exactly those that prost writes (a test compares them).

use bytes::{BufMut, BytesMut};
use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::message::{Message, Profile, Receiver, Sender};
use gimlet_core::seq::Seq;
use gimlet_proto::pb;

use crate::convert;
use crate::encode::{TAG, delimited_len, int_len, put_int, put_len, put_varint, varint_len};

/// Bytes of `message_id` with its tag: field 20, 16 bytes. It comes last.
pub(crate) const MESSAGE_ID: usize = 2 + 1 + 16;

/// A message without its seq, ready to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body<'a> {
    message: &'a Message,
    /// What the sender shows of itself.
    profile: Option<&'a Profile>,
    kind: pb::SenderType,
    user: i64,
    device: i64,
    receiver: (pb::ReceiverType, i64),
    /// Bytes of the sender, of the mentions, and of all in front of the seq.
    sender: usize,
    mentions: usize,
    front: usize,
}

impl<'a> Body<'a> {
    /// With the sending device, if it is to be named.
    pub(crate) fn new(message: &'a Message, profile: Option<&'a Profile>, device: bool) -> Self {
        // Without `..`: a field that is added to `Message` is written here, or left out here on purpose.
        // The time and the id are behind the seq: `put` writes them.
        let Message {
            id: _,
            sender,
            receiver,
            mentions,
            kind: message_kind,
            content,
            sent_at: _,
            unknown: _,
        } = message;
        let (kind, user, named) = match *sender {
            Sender::System => (pb::SenderType::StSystem, None, None),
            Sender::User { user, device } => (pb::SenderType::StUser, Some(user), device),
            Sender::Business => (pb::SenderType::StBusiness, None, None),
        };
        let user = user.map_or(0, UserId::to_wire);
        let device = named.filter(|_| device).map_or(0, DeviceId::to_wire);
        let receiver = match *receiver {
            Receiver::User(user) => (pb::ReceiverType::RtUser, user.to_wire()),
            Receiver::Group(group) => (pb::ReceiverType::RtGroup, group.to_wire()),
            Receiver::Room(room) => (pb::ReceiverType::RtRoom, room.to_wire()),
            Receiver::Everyone => (pb::ReceiverType::RtRoom, 0),
        };
        let shown = profile.map_or(0, |profile| {
            let Profile {
                nickname,
                avatar_url,
                extra,
            } = profile;
            bytes_len(avatar_url.len()) + bytes_len(nickname.len()) + bytes_len(extra.len())
        });
        let sender = int_len(kind as i64) + int_len(user) + int_len(device) + shown;
        let mentions = mentions.iter().map(|it| varint_len(it.get())).sum();
        let front = TAG
            + delimited_len(sender)
            + int_len(receiver.0 as i64)
            + int_len(receiver.1)
            + bytes_len(mentions)
            + int_len((*message_kind).into())
            + bytes_len(content.len());
        Self {
            message,
            profile,
            kind,
            user,
            device,
            receiver,
            sender,
            mentions,
            front,
        }
    }

    /// Bytes of the message with that seq; our own fields are for those who speak our extension.
    pub(crate) fn len(&self, seq: Seq, extended: bool) -> usize {
        let ours = if extended { MESSAGE_ID } else { 0 };
        self.front + int_len(seq.to_wire()) + tail_len(self.message) + ours
    }

    /// Writes it.
    pub(crate) fn put(&self, buffer: &mut BytesMut, seq: Seq, extended: bool) {
        self.put_front(buffer);
        put_int(buffer, 0x38, seq.to_wire());
        put_int(buffer, 0x40, self.message.sent_at.0);
        put_int(buffer, 0x48, convert::status(self.message) as i64);
        if extended {
            buffer.put_slice(&[0xa2, 0x01, 16]);
            buffer.put_slice(self.message.id.as_bytes());
        }
    }

    /// Writes what is in front of the seq.
    fn put_front(&self, buffer: &mut BytesMut) {
        buffer.put_u8(0x0a);
        put_len(buffer, self.sender);
        put_int(buffer, 0x08, self.kind as i64);
        put_int(buffer, 0x10, self.user);
        put_int(buffer, 0x18, self.device);
        if let Some(profile) = self.profile {
            put_bytes(buffer, 0x22, profile.avatar_url.as_bytes());
            put_bytes(buffer, 0x2a, profile.nickname.as_bytes());
            put_bytes(buffer, 0x32, profile.extra.as_bytes());
        }
        put_int(buffer, 0x10, self.receiver.0 as i64);
        put_int(buffer, 0x18, self.receiver.1);
        if self.mentions > 0 {
            buffer.put_u8(0x22);
            put_len(buffer, self.mentions);
            for user in &self.message.mentions {
                put_varint(buffer, user.get());
            }
        }
        put_int(buffer, 0x28, self.message.kind.into());
        put_bytes(buffer, 0x32, &self.message.content.0);
    }
}

/// Bytes behind the seq, without our own fields.
pub(crate) const fn tail_len(message: &Message) -> usize {
    int_len(message.sent_at.0) + int_len(convert::status(message) as i64)
}

/// Bytes of a field of bytes with a one-byte tag; nothing if it is empty.
const fn bytes_len(length: usize) -> usize {
    if length == 0 {
        0
    } else {
        TAG + delimited_len(length)
    }
}

fn put_bytes(buffer: &mut BytesMut, tag: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        buffer.put_u8(tag);
        put_len(buffer, bytes.len());
        buffer.put_slice(bytes);
    }
}
