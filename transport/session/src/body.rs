//! Encodes `pb.Message` straight from core's types, without a value of the generated type in
//! between.
//!
//! The lengths are computed first, so that the writer can reserve the exact size. The bytes are
//! exactly those that prost writes (a test compares them).

use bytes::{BufMut, BytesMut};
use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::message::{Message, MessageReceiver, MessageSender, UserProfile};
use gimlet_core::seq::Seq;
use gimlet_proto::pb;

use crate::convert;
use crate::protobuf::{TAG_LEN, delimited_len, int_len, put_int, put_len, put_varint, varint_len};

/// Encoded size of `message_id`: field 20 (a two-byte tag), the length, 16 bytes. It is the last
/// field.
pub(crate) const MESSAGE_ID_LEN: usize = 2 + 1 + 16;

/// A message without its seq, ready to be encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageBody<'a> {
    message: &'a Message,
    /// The profile to show with the sender.
    profile: Option<&'a UserProfile>,
    kind: pb::SenderType,
    user: i64,
    device: i64,
    receiver: (pb::ReceiverType, i64),
    /// Encoded sizes in bytes: the sender, the mentions, and everything in front of the seq.
    sender: usize,
    mentions: usize,
    front: usize,
}

impl<'a> MessageBody<'a> {
    /// Computes the sizes; `device` decides whether the sending device is named.
    pub(crate) fn new(
        message: &'a Message,
        profile: Option<&'a UserProfile>,
        device: bool,
    ) -> Self {
        // Without `..`: a field that is added to `Message` is written here, or left out here on
        // purpose. The time and the id are behind the seq: `put` writes them.
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
            MessageSender::System => (pb::SenderType::StSystem, None, None),
            MessageSender::User { user, device } => (pb::SenderType::StUser, Some(user), device),
            MessageSender::Business => (pb::SenderType::StBusiness, None, None),
        };
        let user = user.map_or(0, UserId::to_wire);
        let device = named.filter(|_| device).map_or(0, DeviceId::to_wire);
        let receiver = match *receiver {
            MessageReceiver::User(user) => (pb::ReceiverType::RtUser, user.to_wire()),
            MessageReceiver::Group(group) => (pb::ReceiverType::RtGroup, group.to_wire()),
            MessageReceiver::Room(room) => (pb::ReceiverType::RtRoom, room.to_wire()),
            MessageReceiver::Everyone => (pb::ReceiverType::RtRoom, 0),
        };
        let shown = profile.map_or(0, |profile| {
            let UserProfile {
                nickname,
                avatar_url,
                extra,
            } = profile;
            bytes_len(avatar_url.len()) + bytes_len(nickname.len()) + bytes_len(extra.len())
        });
        let sender = int_len(kind as i64) + int_len(user) + int_len(device) + shown;
        let mentions = mentions.iter().map(|it| varint_len(it.get())).sum();
        let front = TAG_LEN
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

    /// Returns the encoded size with this seq; our additive fields are for extension clients only.
    pub(crate) fn len(&self, seq: Seq, extended: bool) -> usize {
        let ours = if extended { MESSAGE_ID_LEN } else { 0 };
        self.front + int_len(seq.to_wire()) + tail_len(self.message) + ours
    }

    /// Appends the encoded message, with this seq, to the buffer.
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

    /// Appends the fields in front of the seq.
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

/// Encoded size of the fields after the seq, without our additive ones.
pub(crate) const fn tail_len(message: &Message) -> usize {
    int_len(message.sent_at.0) + int_len(convert::status(message) as i64)
}

/// Encoded size of a bytes field with a one-byte tag; an empty field is not encoded.
const fn bytes_len(length: usize) -> usize {
    if length == 0 {
        0
    } else {
        TAG_LEN + delimited_len(length)
    }
}

fn put_bytes(buffer: &mut BytesMut, tag: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        buffer.put_u8(tag);
        put_len(buffer, bytes.len());
        buffer.put_slice(bytes);
    }
}
