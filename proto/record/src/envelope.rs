//! `gimlet.store.v1.Envelope` between bytes and core's [`Envelope`].

use std::sync::Arc;

use gimlet_core::envelope::Envelope;
use gimlet_core::message::{Message, UserProfile};

use crate::error::DecodeError;
use crate::message;
use crate::wire::{WireFields, bytes_len, number_len, put_bytes, put_number, put_prefix};

/// The fields' numbers, as store.proto gives them.
mod number {
    pub(super) const MESSAGE: u8 = 1;
    pub(super) const REQUEST_ID: u8 = 2;
    pub(super) const PROFILE: u8 = 3;
    pub(super) const NICKNAME: u8 = 1;
    pub(super) const AVATAR_URL: u8 = 2;
    pub(super) const EXTRA: u8 = 3;
}

/// Returns the bytes that [`encode_envelope_to`] appends.
#[must_use]
pub fn encoded_envelope_len(envelope: &Envelope) -> usize {
    EnvelopeRecord::of(envelope).len()
}

/// Encodes a message with its sender's profile.
#[must_use]
pub fn encode_envelope(envelope: &Envelope) -> Vec<u8> {
    let mut out = Vec::new();
    encode_envelope_to(envelope, &mut out);
    out
}

/// Appends an encoded message with its sender's profile to `out`.
pub fn encode_envelope_to(envelope: &Envelope, out: &mut Vec<u8>) {
    let record = EnvelopeRecord::of(envelope);
    out.reserve_exact(record.len());
    record.put(out);
}

/// Decodes a message with its sender's profile. All of it is copied: nothing of `record` is kept.
///
/// An envelope is made for its current recipients and never written again, so only its message
/// keeps fields that this release does not know.
///
/// # Errors
/// `record` is not the record of an envelope.
pub fn decode_envelope(record: &[u8]) -> Result<Envelope, DecodeError> {
    let (mut message, mut request_id, mut profile) = (None, 0, UserProfile::default());
    let mut fields = WireFields::of(record);
    while let Some(field) = fields.next_field()? {
        let value = field.value;
        match u8::try_from(field.number).unwrap_or_default() {
            number::MESSAGE => message = Some(message::decode(value.bytes("message")?)?),
            number::REQUEST_ID => request_id = value.number("request_id")?,
            number::PROFILE => profile = decode_profile(value.bytes("profile")?)?,
            _ => {}
        }
    }
    Ok(Envelope::new(
        Arc::new(message.ok_or(DecodeError::Missing("message"))?),
        Arc::new(profile),
        request_id.cast_signed(),
    ))
}

fn decode_profile(record: &[u8]) -> Result<UserProfile, DecodeError> {
    let mut profile = UserProfile::default();
    let mut fields = WireFields::of(record);
    while let Some(field) = fields.next_field()? {
        let value = field.value;
        match u8::try_from(field.number).unwrap_or_default() {
            number::NICKNAME => profile.nickname = value.text("nickname")?,
            number::AVATAR_URL => profile.avatar_url = value.text("avatar_url")?,
            number::EXTRA => profile.extra = value.text("extra")?,
            _ => {}
        }
    }
    Ok(profile)
}

/// The values of a record, and the lengths of its messages.
#[derive(Clone, Copy, Debug)]
struct EnvelopeRecord<'a> {
    message: &'a Message,
    message_len: usize,
    request_id: u64,
    nickname: &'a str,
    avatar_url: &'a str,
    extra: &'a str,
    profile_len: usize,
}

impl<'a> EnvelopeRecord<'a> {
    fn of(envelope: &'a Envelope) -> Self {
        let (message, profile, request_id) = envelope.parts();
        // Without `..`: a field that is added to `UserProfile` and not written here does not
        // compile.
        let UserProfile {
            nickname,
            avatar_url,
            extra,
        } = profile;
        Self {
            message,
            message_len: message::encoded_len(message),
            request_id: request_id.cast_unsigned(),
            nickname,
            avatar_url,
            extra,
            profile_len: bytes_len(nickname.len())
                + bytes_len(avatar_url.len())
                + bytes_len(extra.len()),
        }
    }

    const fn len(&self) -> usize {
        bytes_len(self.message_len) + number_len(self.request_id) + bytes_len(self.profile_len)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_prefix(out, number::MESSAGE, self.message_len);
        message::encode_to(self.message, out);
        put_number(out, number::REQUEST_ID, self.request_id);
        if self.profile_len > 0 {
            put_prefix(out, number::PROFILE, self.profile_len);
            put_bytes(out, number::NICKNAME, self.nickname.as_bytes());
            put_bytes(out, number::AVATAR_URL, self.avatar_url.as_bytes());
            put_bytes(out, number::EXTRA, self.extra.as_bytes());
        }
    }
}
