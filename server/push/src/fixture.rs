//! Messages and registrations for tests.

use std::sync::Arc;

use gimlet_core::envelope::Envelope;
use gimlet_core::id::{DeviceId, MessageId, UserId};
use gimlet_core::message::{
    Message, MessageContent, MessageReceiver, MessageSender, UnknownFields, UserProfile,
};
use gimlet_core::store::{PushAddress, PushRegistration};
use gimlet_core::time::UnixTimestamp;
use gimlet_json::{JsonContent, JsonType as _, ValueSource};
use serde_json::json;

pub(crate) fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

pub(crate) fn envelope(
    from: UserId,
    receiver: MessageReceiver,
    kind: i32,
    content: MessageContent,
) -> Arc<Envelope> {
    let message = Message {
        id: MessageId::generate(),
        sender: MessageSender::User {
            user: from,
            device: None,
        },
        receiver,
        mentions: Vec::new(),
        kind,
        content,
        sent_at: UnixTimestamp(1),
        unknown: UnknownFields::default(),
    };
    let profile = UserProfile {
        nickname: "Ada".into(),
        ..UserProfile::default()
    };
    Arc::new(Envelope::new(Arc::new(message), Arc::new(profile), 0))
}

pub(crate) fn text(from: UserId, receiver: MessageReceiver, text: &str) -> Arc<Envelope> {
    let text = json!({"type": "text", "text": text});
    let read = JsonContent::read(text, ValueSource::Body);
    let (kind, content) = read.unwrap().encode().unwrap();
    envelope(from, receiver, kind, content)
}

pub(crate) fn registration(device: u64, address: PushAddress) -> PushRegistration {
    PushRegistration {
        device: DeviceId::new(device).unwrap(),
        address,
        shows_content: false,
        locale: String::new(),
        registered_at: UnixTimestamp(1),
    }
}

pub(crate) fn fcm(token: &str) -> PushAddress {
    PushAddress::Fcm {
        token: token.into(),
    }
}
