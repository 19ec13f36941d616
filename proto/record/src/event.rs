//! `gimlet.store.v1.Event` between bytes and core's [`HookEvent`].
//!
//! The events of a hook are written once and read once, so generated types are fast enough here. The
//! message inside is bytes to them, and is read and written like every stored message.

use std::sync::Arc;

use gimlet_core::events::{EventBody, EventId, GroupEvent, HookEvent};
use gimlet_core::id::{GroupId, UserId};
use gimlet_core::message::Message;
use gimlet_core::seq::Seq;
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::store::{self, event, event_group};
use prost::Message as _;

use crate::error::DecodeError;
use crate::message;

/// Encodes an event.
#[must_use]
pub fn encode_event(event: &HookEvent) -> Vec<u8> {
    record(event).encode_to_vec()
}

/// Decodes an event. Its texts and its content are copied: nothing of `record` is kept.
///
/// # Errors
/// `record` is not the record of an event, or a newer release wrote it.
pub fn decode_event(record: &[u8]) -> Result<HookEvent, DecodeError> {
    let record = store::Event::decode(record).map_err(|_| DecodeError::Malformed)?;
    let id = record.id.as_ref().try_into();
    let id = id.map_err(|_| DecodeError::OutOfRange("id"))?;
    let body = record.body.ok_or(DecodeError::Missing("body"))?;
    Ok(HookEvent {
        id: EventId::from_bytes(id),
        at: UnixTimestamp(record.at_ms),
        body: read_body(body)?,
    })
}

fn record(event: &HookEvent) -> store::Event {
    let HookEvent { id, at, body } = event;
    store::Event {
        id: id.as_bytes().to_vec().into(),
        at_ms: at.0,
        body: Some(record_body(body)),
    }
}

fn record_body(body: &EventBody) -> event::Body {
    match body {
        EventBody::Message {
            message,
            recipients,
        } => event::Body::Message(store::EventMessage {
            message: message::encode(message).into(),
            recipients: differences(recipients),
        }),
        EventBody::RoomMessage { message, seq } => {
            event::Body::RoomMessage(store::EventRoomMessage {
                message: message::encode(message).into(),
                seq: seq.get(),
            })
        }
        EventBody::Group {
            group,
            version,
            operator,
            change,
        } => event::Body::Group(store::EventGroup {
            group: group.get(),
            version: *version,
            operator: operator.map_or(0, UserId::get),
            change: Some(record_change(change)),
        }),
        EventBody::FriendRequested {
            user,
            friend,
            description,
        } => event::Body::FriendRequested(store::EventFriend {
            user: user.get(),
            friend: friend.get(),
            description: description.clone(),
        }),
        EventBody::FriendAccepted { user, friend } => {
            event::Body::FriendAccepted(store::EventFriend {
                user: user.get(),
                friend: friend.get(),
                description: String::new(),
            })
        }
        EventBody::Online { user } => event::Body::Online(user.get()),
        EventBody::Offline { user } => event::Body::Offline(user.get()),
    }
}

fn record_change(change: &GroupEvent) -> event_group::Change {
    match change {
        GroupEvent::Created(users) => event_group::Change::Created(record_users(users)),
        GroupEvent::Edited {
            name,
            avatar_url,
            introduction,
            extra,
        } => event_group::Change::Edited(store::EventGroupEdit {
            name: name.clone(),
            avatar_url: avatar_url.clone(),
            introduction: introduction.clone(),
            extra: extra.clone(),
        }),
        GroupEvent::Added(users) => event_group::Change::Added(record_users(users)),
        GroupEvent::Removed(user) => event_group::Change::Removed(user.get()),
        GroupEvent::MemberEdited {
            user,
            admin,
            remarks,
            extra,
        } => event_group::Change::MemberEdited(store::EventMemberEdit {
            user: user.get(),
            admin: *admin,
            remarks: remarks.clone(),
            extra: extra.clone(),
        }),
    }
}

fn record_users(users: &[UserId]) -> store::EventUsers {
    store::EventUsers {
        users: users.iter().map(|user| user.get()).collect(),
    }
}

fn read_body(body: event::Body) -> Result<EventBody, DecodeError> {
    Ok(match body {
        event::Body::Message(it) => EventBody::Message {
            message: read_message(&it.message)?,
            recipients: read_differences(&it.recipients)?,
        },
        event::Body::RoomMessage(it) => EventBody::RoomMessage {
            message: read_message(&it.message)?,
            seq: Seq::new(it.seq),
        },
        event::Body::Group(it) => EventBody::Group {
            group: GroupId::new(it.group).ok_or(DecodeError::OutOfRange("group"))?,
            version: it.version,
            operator: match it.operator {
                0 => None,
                raw => Some(user(raw)?),
            },
            change: read_change(it.change.ok_or(DecodeError::Missing("change"))?)?,
        },
        event::Body::FriendRequested(it) => EventBody::FriendRequested {
            user: user(it.user)?,
            friend: user(it.friend)?,
            description: it.description,
        },
        event::Body::FriendAccepted(it) => EventBody::FriendAccepted {
            user: user(it.user)?,
            friend: user(it.friend)?,
        },
        event::Body::Online(raw) => EventBody::Online { user: user(raw)? },
        event::Body::Offline(raw) => EventBody::Offline { user: user(raw)? },
    })
}

fn read_change(change: event_group::Change) -> Result<GroupEvent, DecodeError> {
    Ok(match change {
        event_group::Change::Created(it) => GroupEvent::Created(read_users(&it)?),
        event_group::Change::Edited(it) => GroupEvent::Edited {
            name: it.name,
            avatar_url: it.avatar_url,
            introduction: it.introduction,
            extra: it.extra,
        },
        event_group::Change::Added(it) => GroupEvent::Added(read_users(&it)?),
        event_group::Change::Removed(raw) => GroupEvent::Removed(user(raw)?),
        event_group::Change::MemberEdited(it) => GroupEvent::MemberEdited {
            user: user(it.user)?,
            admin: it.admin,
            remarks: it.remarks,
            extra: it.extra,
        },
    })
}

fn read_message(record: &[u8]) -> Result<Arc<Message>, DecodeError> {
    message::decode(record).map(Arc::new)
}

fn user(raw: u64) -> Result<UserId, DecodeError> {
    UserId::new(raw).ok_or(DecodeError::OutOfRange("user"))
}

fn read_users(record: &store::EventUsers) -> Result<Arc<[UserId]>, DecodeError> {
    record.users.iter().map(|raw| user(*raw)).collect()
}

/// Returns each user as the difference from the one before: the members of a group are ascending,
/// so most of them take one byte or two.
fn differences(users: &[UserId]) -> Vec<i64> {
    let mut last = 0;
    let difference = |user: &UserId| {
        // Ids are below 2^63, so the difference of two fits.
        let id = user.get().cast_signed();
        let difference = id - last;
        last = id;
        difference
    };
    users.iter().map(difference).collect()
}

fn read_differences(differences: &[i64]) -> Result<Arc<[UserId]>, DecodeError> {
    let mut last = 0_i64;
    let read = |difference: &i64| {
        last = last.wrapping_add(*difference);
        let user = u64::try_from(last).ok().and_then(UserId::new);
        user.ok_or(DecodeError::OutOfRange("recipients"))
    };
    differences.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::testkit;

    proptest! {
        #[test]
        fn an_event_comes_back_with_every_field(event in testkit::event()) {
            let record = encode_event(&event);
            prop_assert_eq!(decode_event(&record).unwrap(), event);
        }

        #[test]
        fn any_bytes_are_an_event_or_an_error(
            event in testkit::event(),
            at in 0..400_usize,
            flip in 1..=255_u8,
        ) {
            let mut record = encode_event(&event);
            let at = at % record.len();
            record[at] ^= flip;
            let _ = decode_event(&record);
            record.truncate(at);
            prop_assert!(decode_event(&record) != Ok(event));
        }
    }

    #[test]
    fn the_recipients_of_a_large_group_take_about_a_byte_each() {
        let users: Vec<UserId> = (1..=1_000)
            .map(|n| UserId::new(9_000_000 + n).unwrap())
            .collect();
        let record = store::EventMessage {
            message: bytes::Bytes::new(),
            recipients: differences(&users),
        };
        assert!(record.encoded_len() < 1_100, "{}", record.encoded_len());
    }
}
