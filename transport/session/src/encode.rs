//! The bytes of what the server sends.
//!
//! A message is encoded once, without its seq, into its envelope; what differs between those who
//! get it is written around and into it: the seq, and our additive fields, which clients of gim do
//! not get. Lengths are computed, not measured, so a frame is made by one allocation. The bytes are
//! exactly those that prost writes (a test compares them).

use bytes::{BufMut, Bytes, BytesMut};
use gimlet_core::envelope::Envelope;
use gimlet_core::error::Refusal;
use gimlet_core::message::{Message, Profile};
use gimlet_core::seq::Seq;
use gimlet_proto::pb;
use prost::Message as _;

use crate::convert;

/// Bytes of `message_id` with its tag: field 20, 16 bytes. It comes last.
const MESSAGE_ID: usize = 2 + 1 + 16;

/// Bytes of the other fields behind the seq that do not vary: tags of `send_time` and `status`.
const TAG: usize = 1;

/// The largest frame a client is sent: what two bytes of length can say.
pub(crate) const LARGEST_FRAME: usize = u16::MAX as usize;

/// Bytes of a varint.
pub(crate) const fn varint_len(value: u64) -> usize {
    // Seven bits a byte; zero takes one as well.
    (((value | 1).ilog2() as usize) * 9 + 73) / 64
}

fn put_varint(buffer: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        buffer.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    buffer.put_u8((value & 0x7f) as u8);
}

/// Writes the length in front of something.
pub(crate) fn put_len(buffer: &mut BytesMut, length: usize) {
    put_varint(buffer, length as u64);
}

/// Bytes of an `int64` field with a one-byte tag; nothing for the default.
const fn int_len(value: i64) -> usize {
    if value == 0 {
        0
    } else {
        TAG + varint_len(value.cast_unsigned())
    }
}

fn put_int(buffer: &mut BytesMut, tag: u8, value: i64) {
    if value != 0 {
        buffer.put_u8(tag);
        put_varint(buffer, value.cast_unsigned());
    }
}

/// Bytes of something with its length in front of it.
pub(crate) const fn delimited_len(length: usize) -> usize {
    varint_len(length as u64) + length
}

/// A message ready to be written with whichever seq.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// `pb.Message` without its seq.
    bytes: Bytes,
    /// Where the seq goes: behind field 6.
    split: usize,
}

impl Encoded {
    /// For a live push: encoded once for all who get it. A client of gim does not get our fields.
    pub(crate) fn live(envelope: &Envelope, extended: bool) -> Self {
        let bytes = envelope.encoded(|envelope| whole(&envelope.message, &envelope.profile, true));
        Self::cut(bytes.clone(), &envelope.message, extended)
    }

    /// For a SYNC page: gim does not name the sending device in one, nor do we to its clients.
    pub(crate) fn page(envelope: &Envelope, extended: bool) -> Self {
        if extended {
            return Self::live(envelope, true);
        }
        let bytes = whole(&envelope.message, &envelope.profile, false);
        Self::cut(bytes, &envelope.message, false)
    }

    /// The same without what the sender shows of itself, which is the only part whose size nobody
    /// promised: a message that is too large for a frame with it goes out without.
    pub(crate) fn bare(envelope: &Envelope, extended: bool) -> Self {
        let bytes = whole(&envelope.message, &Profile::default(), extended);
        Self::cut(bytes, &envelope.message, extended)
    }

    fn cut(mut bytes: Bytes, message: &Message, extended: bool) -> Self {
        let tail = int_len(message.sent_at.0) + int_len(convert::status(message) as i64);
        let split = bytes.len() - tail - MESSAGE_ID;
        if !extended {
            bytes.truncate(split + tail);
        }
        Self { bytes, split }
    }

    /// Bytes of the message with that seq.
    pub(crate) fn len(&self, seq: Seq) -> usize {
        self.bytes.len() + int_len(seq.to_wire())
    }

    /// Writes the message with that seq.
    pub(crate) fn put(&self, buffer: &mut BytesMut, seq: Seq) {
        let (front, back) = self.bytes.split_at(self.split);
        buffer.put_slice(front);
        put_int(buffer, 0x38, seq.to_wire());
        buffer.put_slice(back);
    }
}

fn whole(message: &Message, profile: &Profile, device: bool) -> Bytes {
    let mut wire = convert::message(message, profile);
    if let Some(sender) = wire.sender.as_mut().filter(|_| !device) {
        sender.device_id = 0;
    }
    wire.encode_to_vec().into()
}

/// A pushed message as a frame; `None` if no frame can carry it.
pub(crate) fn push(
    envelope: &Envelope,
    seq: Seq,
    request_id: i64,
    extended: bool,
) -> Option<Bytes> {
    push_of(&Encoded::live(envelope, extended), seq, request_id)
        .or_else(|| push_of(&Encoded::bare(envelope, extended), seq, request_id))
}

/// The same for what is outside the inbox: one frame for all who get it. What it was made from is
/// not kept beside it.
pub(crate) fn live(envelope: &Envelope, seq: Seq, extended: bool) -> Option<Bytes> {
    envelope.frame(seq, extended, |envelope| {
        let bytes = whole(&envelope.message, &envelope.profile, true);
        let full = Encoded::cut(bytes, &envelope.message, extended);
        push_of(&full, seq, envelope.request_id).or_else(|| {
            let bare = Encoded::bare(envelope, extended);
            push_of(&bare, seq, envelope.request_id)
        })
    })
}

fn push_of(message: &Encoded, seq: Seq, request_id: i64) -> Option<Bytes> {
    let length = message.len(seq);
    // MessageSend { message = 1 }, inside Output { data = 5 }.
    let data = TAG + delimited_len(length);
    let frame = 2 + int_len(request_id) + TAG + delimited_len(data);
    if frame > LARGEST_FRAME {
        return None;
    }
    let mut buffer = BytesMut::with_capacity(frame);
    put_int(&mut buffer, 0x08, pb::PackageType::PtMessage as i64);
    put_int(&mut buffer, 0x10, request_id);
    buffer.put_u8(0x2a);
    put_varint(&mut buffer, data as u64);
    buffer.put_u8(0x0a);
    put_varint(&mut buffer, length as u64);
    message.put(&mut buffer, seq);
    Some(buffer.freeze())
}

/// An answer with data.
pub(crate) fn answer(kind: i32, request_id: i64, data: Bytes) -> Bytes {
    let output = pb::Output {
        r#type: kind,
        request_id,
        data,
        ..pb::Output::default()
    };
    output.encode_to_vec().into()
}

/// Bytes of an answer with that much data.
pub(crate) const fn answer_len(request_id: i64, data: usize) -> usize {
    let data = if data == 0 {
        0
    } else {
        TAG + delimited_len(data)
    };
    2 + int_len(request_id) + data
}

/// A refusal.
pub(crate) fn refusal(kind: i32, request_id: i64, refusal: &Refusal) -> Bytes {
    let output = pb::Output {
        r#type: kind,
        request_id,
        code: refusal.code(),
        message: refusal.to_string(),
        data: Bytes::new(),
    };
    output.encode_to_vec().into()
}

#[cfg(test)]
#[path = "encode_tests.rs"]
pub(crate) mod tests;
