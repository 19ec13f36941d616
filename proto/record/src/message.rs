//! `gimlet.store.v1.Message` between bytes and core's [`Message`].

use bytes::Bytes;
use gimlet_core::id::{DeviceId, GroupId, MessageId, RoomId, UserId};
use gimlet_core::message::{
    Message, MessageContent, MessageReceiver, MessageSender, UnknownFields,
};
use gimlet_core::time::UnixTimestamp;

use crate::error::DecodeError;
use crate::wire::{
    WireFields, WireValue, bytes_len, number_len, put_bytes, put_number, put_prefix, put_varint,
    varint_len,
};

/// The fields' numbers, as store.proto gives them.
mod number {
    pub(super) const ID: u8 = 1;
    pub(super) const SENDER: u8 = 2;
    pub(super) const SENDER_USER: u8 = 3;
    pub(super) const SENDER_DEVICE: u8 = 4;
    pub(super) const RECEIVER: u8 = 5;
    pub(super) const RECEIVER_ID: u8 = 6;
    pub(super) const MENTIONS: u8 = 7;
    pub(super) const KIND: u8 = 8;
    pub(super) const CONTENT: u8 = 9;
    pub(super) const SENT_MS: u8 = 10;
}

/// The values of store.proto's `Sender`.
mod sender {
    pub(super) const SYSTEM: u64 = 0;
    pub(super) const USER: u64 = 1;
    pub(super) const BUSINESS: u64 = 2;
}

/// The values of store.proto's `Receiver`.
mod receiver {
    pub(super) const EVERYONE: u64 = 0;
    pub(super) const USER: u64 = 1;
    pub(super) const GROUP: u64 = 2;
    pub(super) const ROOM: u64 = 3;
}

/// Returns the bytes that [`encode_to`] appends.
#[must_use]
pub fn encoded_len(message: &Message) -> usize {
    MessageRecord::of(message).len()
}

/// Encodes a message.
#[must_use]
pub fn encode(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    encode_to(message, &mut out);
    out
}

/// Appends an encoded message to `out`.
pub fn encode_to(message: &Message, out: &mut Vec<u8>) {
    let record = MessageRecord::of(message);
    out.reserve_exact(record.len());
    record.put(out);
}

/// Decodes a message. Its content is copied, so that nothing of `record` is kept.
///
/// # Errors
/// `record` is not the record of a message.
pub fn decode(record: &[u8]) -> Result<Message, DecodeError> {
    decode_with(record, Bytes::copy_from_slice)
}

/// Decodes a message whose content is a part of `record`, and keeps all of it.
///
/// # Errors
/// `record` is not the record of a message.
pub fn decode_shared(record: &Bytes) -> Result<Message, DecodeError> {
    decode_with(record, |content| record.slice_ref(content))
}

/// The values of a record, and the length of the mentions.
#[derive(Clone, Copy, Debug)]
struct MessageRecord<'a> {
    id: &'a [u8],
    sender: u64,
    sender_user: u64,
    sender_device: u64,
    receiver: u64,
    receiver_id: u64,
    mentions: &'a [UserId],
    mentions_len: usize,
    kind: u64,
    content: &'a [u8],
    sent_ms: u64,
    unknown: &'a [u8],
}

impl<'a> MessageRecord<'a> {
    fn of(message: &'a Message) -> Self {
        // Without `..`: a field that is added to `Message` and not written here does not compile.
        let Message {
            id,
            sender,
            receiver,
            mentions,
            kind,
            content,
            sent_at,
            unknown,
        } = message;
        let (sender, sender_user, sender_device) = match *sender {
            MessageSender::System => (sender::SYSTEM, 0, 0),
            MessageSender::Business => (sender::BUSINESS, 0, 0),
            MessageSender::User { user, device } => {
                (sender::USER, user.get(), device.map_or(0, DeviceId::get))
            }
        };
        let (receiver, receiver_id) = match *receiver {
            MessageReceiver::Everyone => (receiver::EVERYONE, 0),
            MessageReceiver::User(user) => (receiver::USER, user.get()),
            MessageReceiver::Group(group) => (receiver::GROUP, group.get()),
            MessageReceiver::Room(room) => (receiver::ROOM, room.get()),
        };
        Self {
            id: id.as_bytes(),
            sender,
            sender_user,
            sender_device,
            receiver,
            receiver_id,
            mentions,
            mentions_len: mentions.iter().map(|it| varint_len(it.get())).sum(),
            // Protobuf extends the sign of an `int32` to 64 bits.
            kind: i64::from(*kind).cast_unsigned(),
            content: &content.0,
            sent_ms: sent_at.0.cast_unsigned(),
            unknown: unknown.as_bytes(),
        }
    }

    fn len(&self) -> usize {
        let Self {
            id,
            sender,
            sender_user,
            sender_device,
            receiver,
            receiver_id,
            mentions: _,
            mentions_len,
            kind,
            content,
            sent_ms,
            unknown,
        } = *self;
        bytes_len(id.len())
            + number_len(sender)
            + number_len(sender_user)
            + number_len(sender_device)
            + number_len(receiver)
            + number_len(receiver_id)
            + bytes_len(mentions_len)
            + number_len(kind)
            + bytes_len(content.len())
            + number_len(sent_ms)
            + unknown.len()
    }

    fn put(&self, out: &mut Vec<u8>) {
        let Self {
            id,
            sender,
            sender_user,
            sender_device,
            receiver,
            receiver_id,
            mentions,
            mentions_len,
            kind,
            content,
            sent_ms,
            unknown,
        } = *self;
        put_bytes(out, number::ID, id);
        put_number(out, number::SENDER, sender);
        put_number(out, number::SENDER_USER, sender_user);
        put_number(out, number::SENDER_DEVICE, sender_device);
        put_number(out, number::RECEIVER, receiver);
        put_number(out, number::RECEIVER_ID, receiver_id);
        if mentions_len > 0 {
            put_prefix(out, number::MENTIONS, mentions_len);
            for user in mentions {
                put_varint(out, user.get());
            }
        }
        put_number(out, number::KIND, kind);
        put_bytes(out, number::CONTENT, content);
        put_number(out, number::SENT_MS, sent_ms);
        // Their numbers are larger than those above, so that the fields stay in order.
        out.extend_from_slice(unknown);
    }
}

fn decode_with<'a>(
    record: &'a [u8],
    keep: impl FnOnce(&'a [u8]) -> Bytes,
) -> Result<Message, DecodeError> {
    let mut id = None;
    let (mut sender, mut sender_user, mut sender_device) = (0, 0, 0);
    let (mut receiver, mut receiver_id) = (0, 0);
    let mut mentions = Vec::new();
    let (mut kind, mut content, mut sent_ms) = (0, [].as_slice(), 0);
    let mut unknown = Vec::new();
    let mut fields = WireFields::of(record);
    while let Some(field) = fields.next_field()? {
        let value = field.value;
        match u8::try_from(field.number).unwrap_or_default() {
            number::ID => id = Some(value.bytes("id")?),
            number::SENDER => sender = value.number("sender")?,
            number::SENDER_USER => sender_user = value.number("sender_user")?,
            number::SENDER_DEVICE => sender_device = value.number("sender_device")?,
            number::RECEIVER => receiver = value.number("receiver")?,
            number::RECEIVER_ID => receiver_id = value.number("receiver_id")?,
            number::MENTIONS => read_mentions(&mut mentions, value)?,
            number::KIND => kind = value.number("kind")?,
            number::CONTENT => content = value.bytes("content")?,
            number::SENT_MS => sent_ms = value.number("sent_ms")?,
            _ => unknown.extend_from_slice(field.encoded),
        }
    }
    let id = id.ok_or(DecodeError::Missing("id"))?;
    let id = id.try_into().map_err(|_| DecodeError::OutOfRange("id"))?;
    let kind = i32::try_from(kind.cast_signed());
    Ok(Message {
        id: MessageId::from_bytes(id),
        sender: read_sender(sender, sender_user, sender_device)?,
        receiver: read_receiver(receiver, receiver_id)?,
        mentions,
        kind: kind.map_err(|_| DecodeError::OutOfRange("kind"))?,
        content: MessageContent(keep(content)),
        sent_at: UnixTimestamp(sent_ms.cast_signed()),
        unknown: UnknownFields::copied_from(&unknown),
    })
}

fn read_sender(kind: u64, user: u64, device: u64) -> Result<MessageSender, DecodeError> {
    match kind {
        sender::SYSTEM => Ok(MessageSender::System),
        sender::BUSINESS => Ok(MessageSender::Business),
        sender::USER => Ok(MessageSender::User {
            user: UserId::new(user).ok_or(DecodeError::OutOfRange("sender_user"))?,
            device: match device {
                0 => None,
                raw => Some(DeviceId::new(raw).ok_or(DecodeError::OutOfRange("sender_device"))?),
            },
        }),
        _ => Err(DecodeError::OutOfRange("sender")),
    }
}

fn read_receiver(kind: u64, id: u64) -> Result<MessageReceiver, DecodeError> {
    let receiver = match kind {
        receiver::EVERYONE => Some(MessageReceiver::Everyone),
        receiver::USER => UserId::new(id).map(MessageReceiver::User),
        receiver::GROUP => GroupId::new(id).map(MessageReceiver::Group),
        receiver::ROOM => RoomId::new(id).map(MessageReceiver::Room),
        _ => return Err(DecodeError::OutOfRange("receiver")),
    };
    receiver.ok_or(DecodeError::OutOfRange("receiver_id"))
}

/// Reads mentions: proto3 packs them, and a reader takes them one by one as well.
fn read_mentions(mentions: &mut Vec<UserId>, value: WireValue<'_>) -> Result<(), DecodeError> {
    let user = |raw| UserId::new(raw).ok_or(DecodeError::OutOfRange("mentions"));
    match value {
        WireValue::Number(raw) => mentions.push(user(raw)?),
        WireValue::Bytes(packed) => {
            let mut packed = WireFields::of(packed);
            while !packed.is_empty() {
                mentions.push(user(packed.varint()?)?);
            }
        }
        WireValue::Fixed => return Err(DecodeError::WrongType("mentions")),
    }
    Ok(())
}
