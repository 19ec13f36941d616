//! Strategies for proptest: messages with any value in every field, also in fields of a later
//! release.
//!
//! The tests of every storage and of the traffic between nodes encode these messages, decode them
//! again and compare, so that a field that is written in one place and forgotten in another is
//! found. A field that is added to `Message` does not compile here until a strategy makes it.

use std::sync::Arc;

use bytes::Bytes;
use gimlet_core::envelope::Envelope;
use gimlet_core::events::{EventBody, EventId, GroupEvent, HookEvent};
use gimlet_core::id::{DeviceId, GroupId, MAX_ID, MessageId, RoomId, UserId};
use gimlet_core::message::{
    Message, MessageContent, MessageReceiver, MessageSender, UnknownFields, UserProfile,
};
use gimlet_core::seq::Seq;
use gimlet_core::time::UnixTimestamp;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

use crate::wire::put_varint;

/// The smallest number that no field of `gimlet.store.v1.Message` has.
const FIRST_UNKNOWN: u32 = 11;

fn user() -> impl Strategy<Value = UserId> {
    prop_oneof![1..1_000_u64, 1..=MAX_ID]
        .prop_map(|raw| UserId::new(raw).expect("the range of ids"))
}

fn sender() -> impl Strategy<Value = MessageSender> {
    let device = prop_oneof![Just(0), 1..=MAX_ID].prop_map(DeviceId::new);
    prop_oneof![
        Just(MessageSender::System),
        Just(MessageSender::Business),
        (user(), device).prop_map(|(user, device)| MessageSender::User { user, device }),
    ]
}

fn receiver() -> impl Strategy<Value = MessageReceiver> {
    let group = |raw| MessageReceiver::Group(GroupId::new(raw).expect("the range of ids"));
    let room = |raw| MessageReceiver::Room(RoomId::new(raw).expect("the range of ids"));
    prop_oneof![
        Just(MessageReceiver::Everyone),
        user().prop_map(MessageReceiver::User),
        (1..=MAX_ID).prop_map(group),
        (1..=MAX_ID).prop_map(room),
    ]
}

/// Makes fields of a later release: each of protobuf's wire types, up to the largest number.
pub fn unknown_fields() -> impl Strategy<Value = UnknownFields> {
    let value = prop_oneof![
        any::<u64>().prop_map(|number| {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            (0, out)
        }),
        any::<[u8; 8]>().prop_map(|fixed| (1, fixed.to_vec())),
        vec(any::<u8>(), 0..40).prop_map(|bytes| {
            let mut out = Vec::new();
            put_varint(&mut out, bytes.len() as u64);
            out.extend(bytes);
            (2, out)
        }),
        any::<[u8; 4]>().prop_map(|fixed| (5, fixed.to_vec())),
    ];
    let field = (FIRST_UNKNOWN..1 << 29, value).prop_map(|(number, (wire_type, value))| {
        let mut out = Vec::new();
        put_varint(&mut out, (u64::from(number) << 3) | wire_type);
        out.extend(value);
        out
    });
    vec(field, 0..4).prop_map(|fields| UnknownFields::copied_from(&fields.concat()))
}

/// Makes messages.
pub fn message() -> impl Strategy<Value = Message> {
    let ids = (any::<[u8; 16]>(), sender(), receiver(), vec(user(), 0..20));
    let content = vec(any::<u8>(), 0..300);
    let rest = (any::<i32>(), content, any::<i64>(), unknown_fields());
    (ids, rest).prop_map(
        |((id, sender, receiver, mentions), (kind, content, sent_at, unknown))| Message {
            id: MessageId::from_bytes(id),
            sender,
            receiver,
            mentions,
            kind,
            content: MessageContent(Bytes::from(content)),
            sent_at: UnixTimestamp(sent_at),
            unknown,
        },
    )
}

/// Makes messages with their senders' profiles.
pub fn envelope() -> impl Strategy<Value = Envelope> {
    let profile =
        (".{0,20}", ".{0,40}", ".{0,200}").prop_map(|(nickname, avatar_url, extra)| UserProfile {
            nickname,
            avatar_url,
            extra,
        });
    (message(), profile, any::<i64>()).prop_map(|(message, profile, request_id)| {
        Envelope::new(Arc::new(message), Arc::new(profile), request_id)
    })
}

fn group_event() -> impl Strategy<Value = GroupEvent> {
    let text = || option::of(".{0,20}");
    let users = || vec(user(), 0..20).prop_map(Arc::<[UserId]>::from);
    prop_oneof![
        users().prop_map(GroupEvent::Created),
        users().prop_map(GroupEvent::Added),
        user().prop_map(GroupEvent::Removed),
        (text(), text(), text(), text()).prop_map(|(name, avatar_url, introduction, extra)| {
            GroupEvent::Edited {
                name,
                avatar_url,
                introduction,
                extra,
            }
        }),
        (user(), option::of(any::<bool>()), text(), text()).prop_map(
            |(user, admin, remarks, extra)| GroupEvent::MemberEdited {
                user,
                admin,
                remarks,
                extra,
            }
        ),
    ]
}

fn event_body() -> impl Strategy<Value = EventBody> {
    let group = (1..=MAX_ID).prop_map(|raw| GroupId::new(raw).expect("the range of ids"));
    let change = (group, any::<u64>(), option::of(user()), group_event());
    prop_oneof![
        (message(), vec(user(), 0..40)).prop_map(|(message, recipients)| EventBody::Message {
            message: Arc::new(message),
            recipients: recipients.into(),
        }),
        (message(), any::<u64>()).prop_map(|(message, seq)| EventBody::RoomMessage {
            message: Arc::new(message),
            seq: Seq::new(seq),
        }),
        change.prop_map(|(group, version, operator, change)| EventBody::Group {
            group,
            version,
            operator,
            change,
        }),
        (user(), user(), ".{0,40}").prop_map(|(user, friend, description)| {
            EventBody::FriendRequested {
                user,
                friend,
                description,
            }
        }),
        (user(), user()).prop_map(|(user, friend)| EventBody::FriendAccepted { user, friend }),
        user().prop_map(|user| EventBody::Online { user }),
        user().prop_map(|user| EventBody::Offline { user }),
    ]
}

/// Makes events of hooks.
pub fn event() -> impl Strategy<Value = HookEvent> {
    (any::<[u8; 16]>(), any::<i64>(), event_body()).prop_map(|(id, at, body)| HookEvent {
        id: EventId::from_bytes(id),
        at: UnixTimestamp(at),
        body,
    })
}
