//! The form of a message for nodes of a release that does not read `gimlet.store.v1.Envelope`.
//!
//! Fields that such a release does not know are left out. This file can be removed, together with
//! `Envelope`, `Profile` and `Message` of node.proto, once every release that a rolling upgrade can
//! start from reads records.

use std::sync::Arc;

use gimlet_core::envelope::Envelope;
use gimlet_core::message::{Message, MessageContent, UnknownFields, UserProfile};
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::node;

use super::fields::{
    DecodeError, mentions_out, message_id, receiver_in, receiver_out, sender_in, sender_out, users,
};

pub(super) fn envelope_out(envelope: &Envelope) -> node::Envelope {
    let (message, profile, request_id) = envelope.parts();
    // Without `..`: a field that is added is written here, or left out here on purpose.
    let Message {
        id,
        sender,
        receiver,
        mentions,
        kind,
        content,
        sent_at,
        unknown: _,
    } = message;
    let UserProfile {
        nickname,
        avatar_url,
        extra,
    } = profile;
    node::Envelope {
        message: Some(node::Message {
            id: id.as_bytes().to_vec().into(),
            sender: Some(sender_out(*sender)),
            receiver: Some(receiver_out(*receiver)),
            mentions: mentions_out(mentions),
            kind: *kind,
            content: content.0.clone(),
            sent_at_ms: sent_at.0,
        }),
        profile: Some(node::Profile {
            nickname: nickname.clone(),
            avatar_url: avatar_url.clone(),
            extra: extra.clone(),
        }),
        request_id,
    }
}

pub(super) fn envelope_in(envelope: node::Envelope) -> Result<Envelope, DecodeError> {
    let it = envelope.message.ok_or(DecodeError("message"))?;
    let message = Message {
        id: message_id(&it.id)?,
        sender: sender_in(it.sender)?,
        receiver: receiver_in(it.receiver)?,
        mentions: users(&it.mentions)?,
        kind: it.kind,
        content: MessageContent::copied_from(&it.content),
        sent_at: UnixTimestamp(it.sent_at_ms),
        unknown: UnknownFields::NONE,
    };
    let profile = envelope.profile.unwrap_or_default();
    let profile = UserProfile {
        nickname: profile.nickname,
        avatar_url: profile.avatar_url,
        extra: profile.extra,
    };
    Ok(Envelope::new(
        Arc::new(message),
        Arc::new(profile),
        envelope.request_id,
    ))
}
