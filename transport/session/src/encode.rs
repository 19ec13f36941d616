//! Encodes the frames that the server sends.
//!
//! A pushed message is encoded once, without its seq, and kept in its envelope. The parts that
//! differ between receivers are added to a copy: the seq, and our additive fields, which clients of
//! gim do not get. Lengths are computed in advance, so a frame takes one allocation. The bytes are
//! exactly those that prost writes (a test compares them).

use bytes::{BufMut, Bytes, BytesMut};
use gimlet_core::envelope::Envelope;
use gimlet_core::error::RequestRefusal;
use gimlet_core::message::Message;
use gimlet_core::seq::Seq;
use gimlet_core::store::RoomItem;
use gimlet_proto::pb;
use prost::Message as _;

use crate::body::{self, MESSAGE_ID_LEN, MessageBody};
use crate::protobuf::{TAG_LEN, delimited_len, int_len, put_int, put_len, put_varint};

/// The largest frame that is sent to a client: the maximum of a two-byte length.
pub(crate) const MAX_FRAME_LEN: usize = u16::MAX as usize;

/// A pushed message, ready to be written with any seq.
#[derive(Debug)]
struct EncodedMessage {
    /// `pb.Message` without its seq.
    bytes: Bytes,
    /// Offset of the seq: after field 6.
    split: usize,
}

impl EncodedMessage {
    /// Takes the encoding that is kept with the envelope, made on first use and shared by all
    /// receivers. Our additive fields are cut off for a client of gim.
    fn live(envelope: &Envelope, extended: bool) -> Self {
        let bytes = envelope.encoded(whole);
        Self::split_at_seq(bytes.clone(), &envelope.message, extended)
    }

    /// Encodes the message without keeping the encoding in the envelope.
    fn once(envelope: &Envelope, extended: bool) -> Self {
        Self::split_at_seq(whole(envelope), &envelope.message, extended)
    }

    /// Encodes the message without the sender's profile, the only part without a size limit: a
    /// message that exceeds the frame limit with its profile is sent without it.
    fn bare(envelope: &Envelope, extended: bool) -> Self {
        let body = MessageBody::new(&envelope.message, None, extended);
        Self::split_at_seq(written(&body), &envelope.message, extended)
    }

    fn split_at_seq(mut bytes: Bytes, message: &Message, extended: bool) -> Self {
        let tail = body::tail_len(message);
        let split = bytes.len() - tail - MESSAGE_ID_LEN;
        if !extended {
            bytes.truncate(split + tail);
        }
        Self { bytes, split }
    }

    /// Encoded size with this seq.
    fn len(&self, seq: Seq) -> usize {
        self.bytes.len() + int_len(seq.to_wire())
    }

    /// Appends the message with this seq.
    fn put(&self, buffer: &mut BytesMut, seq: Seq) {
        let (front, back) = self.bytes.split_at(self.split);
        buffer.put_slice(front);
        put_int(buffer, 0x38, seq.to_wire());
        buffer.put_slice(back);
    }
}

fn whole(envelope: &Envelope) -> Bytes {
    let profile = Some(&*envelope.profile);
    written(&MessageBody::new(&envelope.message, profile, true))
}

/// Encodes a message without its seq, with our additive fields.
fn written(body: &MessageBody<'_>) -> Bytes {
    let mut buffer = BytesMut::with_capacity(body.len(Seq::ZERO, true));
    body.put(&mut buffer, Seq::ZERO, true);
    buffer.freeze()
}

/// Encodes a pushed message as a frame; `None` if it exceeds the frame limit.
pub(crate) fn push(
    envelope: &Envelope,
    seq: Seq,
    request_id: i64,
    extended: bool,
) -> Option<Bytes> {
    push_of(&EncodedMessage::live(envelope, extended), seq, request_id)
        .or_else(|| push_of(&EncodedMessage::bare(envelope, extended), seq, request_id))
}

/// Encodes a room message as the one frame for all subscribers; the message's encoding is not kept.
pub(crate) fn room_push(item: &RoomItem, extended: bool) -> Option<Bytes> {
    let RoomItem { seq, envelope, .. } = item;
    let frame = push_of(&EncodedMessage::once(envelope, extended), *seq, 0)
        .or_else(|| push_of(&EncodedMessage::bare(envelope, extended), *seq, 0));
    if frame.is_none() {
        gimlet_core::error_rated!(
            message = %envelope.message.id,
            "message exceeds the frame limit, skipped"
        );
    }
    frame
}

/// Encoded size of a push of a message of this size.
const fn push_len(message: usize, request_id: i64) -> usize {
    // MessageSend { message = 1 }, inside Output { data = 5 }.
    let data = TAG_LEN + delimited_len(message);
    2 + int_len(request_id) + TAG_LEN + delimited_len(data)
}

/// Returns whether a push of this message, with its sender's profile or without, is within the frame
/// limit. Other encodings ask too: the limit must not depend on the encoding.
pub(crate) fn fits(envelope: &Envelope, profile: bool, seq: Seq, request_id: i64) -> bool {
    let profile = profile.then_some(&*envelope.profile);
    let body = MessageBody::new(&envelope.message, profile, true);
    push_len(body.len(seq, true), request_id) <= MAX_FRAME_LEN
}

fn push_of(message: &EncodedMessage, seq: Seq, request_id: i64) -> Option<Bytes> {
    let length = message.len(seq);
    let data = TAG_LEN + delimited_len(length);
    let frame = push_len(length, request_id);
    if frame > MAX_FRAME_LEN {
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

/// Encodes an answer with data.
pub(crate) fn answer(kind: i32, request_id: i64, data: Bytes) -> Bytes {
    let output = pb::Output {
        r#type: kind,
        request_id,
        data,
        ..pb::Output::default()
    };
    output.encode_to_vec().into()
}

/// Appends the head of a successful answer; `data` bytes must follow.
pub(crate) fn put_answer(buffer: &mut BytesMut, kind: pb::PackageType, id: i64, data: usize) {
    put_int(buffer, 0x08, kind as i64);
    put_int(buffer, 0x10, id);
    if data > 0 {
        buffer.put_u8(0x2a);
        put_len(buffer, data);
    }
}

/// Encoded size of an answer with that much data.
pub(crate) const fn answer_len(request_id: i64, data: usize) -> usize {
    let data = if data == 0 {
        0
    } else {
        TAG_LEN + delimited_len(data)
    };
    2 + int_len(request_id) + data
}

/// Encodes a refusal.
pub(crate) fn refusal(kind: i32, request_id: i64, refusal: &RequestRefusal) -> Bytes {
    let output = pb::Output {
        r#type: kind,
        request_id,
        code: refusal.code(),
        message: refusal.to_string(),
        data: Bytes::new(),
        retry_after_ms: refusal.retry_after_ms(),
    };
    output.encode_to_vec().into()
}

// Named, because the benchmark includes this file from another folder.
#[cfg(test)]
#[path = "encode/tests.rs"]
pub(crate) mod tests;
