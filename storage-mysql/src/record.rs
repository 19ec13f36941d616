//! The stored form of messages, shared by inbox rows, message rows and room items.
//!
//! | bytes | |
//! |---|---|
//! | 1 | format = 2 |
//! | 4 | bytes of the record beside the content of its message, big-endian |
//! | n | `gimlet.store.v1.Message`, or `Envelope` for room items, by `gimlet-record` |
//!
//! The number has two uses. Together with the length of a row it gives the length of the content,
//! so a page can end at its limit of bytes without reading bodies that do not fit. And it detects a
//! row that was truncated or extended: protobuf alone accepts a record that ends between two
//! fields.
//!
//! [`legacy`] reads the older format 1.

use bytes::Bytes;
use gimlet_core::envelope::Envelope;
use gimlet_core::message::Message;

mod error;
mod legacy;

pub(crate) use error::RecordDecodeError;

const FORMAT: u8 = 2;

/// Bytes in front of a record; [`content_len`] needs no more of a row.
pub(crate) const HEADER: usize = 1 + 4;

/// Encodes a message.
pub(crate) fn encode(message: &Message) -> Vec<u8> {
    let mut out = begin(gimlet_record::encoded_len(message), message);
    gimlet_record::encode_to(message, &mut out);
    out
}

/// Decodes a message, whose content is a part of `raw`.
pub(crate) fn decode(raw: impl Into<Bytes>) -> Result<Message, RecordDecodeError> {
    let raw = raw.into();
    if raw.first() == Some(&legacy::FORMAT) {
        return legacy::decode(raw);
    }
    let (overhead, record) = split(&raw)?;
    let message = gimlet_record::decode_shared(&raw.slice_ref(record))?;
    check_length(overhead, record, &message)?;
    Ok(message)
}

/// Encodes a message with its sender's profile.
pub(crate) fn encode_envelope(envelope: &Envelope) -> Vec<u8> {
    let length = gimlet_record::encoded_envelope_len(envelope);
    let mut out = begin(length, &envelope.message);
    gimlet_record::encode_envelope_to(envelope, &mut out);
    out
}

/// Decodes a message with its sender's profile; nothing of `raw` is kept.
pub(crate) fn decode_envelope(raw: &[u8]) -> Result<Envelope, RecordDecodeError> {
    if raw.first() == Some(&legacy::FORMAT) {
        return legacy::decode_envelope(Bytes::copy_from_slice(raw));
    }
    let (overhead, record) = split(raw)?;
    let envelope = gimlet_record::decode_envelope(record)?;
    check_length(overhead, record, &envelope.message)?;
    Ok(envelope)
}

/// Returns the length of the content of a message that is stored in `length` bytes and begins with
/// `header`. In format 1 its mentions are counted as content.
pub(crate) fn content_len(header: &[u8], length: usize) -> Result<usize, RecordDecodeError> {
    if header.first() == Some(&legacy::FORMAT) {
        return Ok(length.saturating_sub(legacy::FIXED));
    }
    let (overhead, _) = split(header)?;
    Ok(length.saturating_sub(HEADER).saturating_sub(overhead))
}

/// Makes the header of this message's record of `length` bytes, and room for the record.
fn begin(length: usize, message: &Message) -> Vec<u8> {
    let overhead = length.saturating_sub(message.content.len());
    let overhead = u32::try_from(overhead).expect("frames bound every part far below 4 GiB");
    let mut out = Vec::with_capacity(HEADER + length);
    out.push(FORMAT);
    out.extend_from_slice(&overhead.to_be_bytes());
    out
}

/// Splits what is stored into the number in its header and the record.
fn split(raw: &[u8]) -> Result<(usize, &[u8]), RecordDecodeError> {
    match raw.first() {
        None | Some(&FORMAT) => {}
        Some(format) => return Err(RecordDecodeError::Format(*format)),
    }
    let found = raw.len();
    let Some(([_, overhead @ ..], record)) = raw.split_first_chunk::<HEADER>() else {
        let stated = HEADER;
        return Err(RecordDecodeError::Length { stated, found });
    };
    let overhead = u32::from_be_bytes(*overhead);
    Ok((usize::try_from(overhead).unwrap_or(usize::MAX), record))
}

/// Checks that the record that `message` was decoded from is complete. A record that lost or gained
/// fields has another length than its header and its content say.
fn check_length(
    overhead: usize,
    record: &[u8],
    message: &Message,
) -> Result<(), RecordDecodeError> {
    let stated = overhead.saturating_add(message.content.len());
    if stated == record.len() {
        return Ok(());
    }
    let found = record.len();
    Err(RecordDecodeError::Length { stated, found })
}

#[cfg(test)]
mod tests;
