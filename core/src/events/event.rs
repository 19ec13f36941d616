//! An event, as it is stored.

use std::fmt;
use std::sync::Arc;

use crate::events::EventKind;
use crate::id::{GroupId, MessageId, UserId};
use crate::message::{Message, MessageReceiver};
use crate::seq::Seq;
use crate::time::UnixTimestamp;

/// Id of an event, the same at every attempt to deliver it, so that its receiver can recognise a
/// repeat. The event of a message has the message's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId([u8; 16]);

impl EventId {
    /// Makes a new id (`UUIDv7`).
    #[must_use]
    pub fn generate() -> Self {
        Self(*MessageId::generate().as_bytes())
    }

    /// Wraps 16 stored bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e:{}", uuid::Uuid::from_bytes(self.0))
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An event of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookEvent {
    /// Its id.
    pub id: EventId,
    /// Time at which the change was made, by the server's clock.
    pub at: UnixTimestamp,
    /// The change.
    pub body: EventBody,
}

impl HookEvent {
    /// Makes the event of a message that was stored for these recipients.
    #[must_use]
    pub fn of_message(message: Arc<Message>, recipients: Arc<[UserId]>, at: UnixTimestamp) -> Self {
        Self {
            id: EventId::from_bytes(*message.id.as_bytes()),
            at,
            body: EventBody::Message {
                message,
                recipients,
            },
        }
    }
}

/// The change that an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventBody {
    /// A message was stored in the inboxes of its recipients: `message.created` and
    /// `message.offline`. The content is stored with the event, so that the inboxes' retention
    /// does not remove it before the delivery.
    Message {
        /// The message.
        message: Arc<Message>,
        /// The users whose inboxes got it, the sender included, if the hook wants
        /// `message.offline`; else empty. In the order of the append.
        recipients: Arc<[UserId]>,
    },
    /// A message was published in a room: `room.message`.
    RoomMessage {
        /// The message.
        message: Arc<Message>,
        /// Its seq in the room.
        seq: Seq,
    },
    /// A group was created or changed: `group.changed`.
    Group {
        /// The group.
        group: GroupId,
        /// Version of its roster after the change. The events of a group are in this order.
        version: u64,
        /// The user that made the change; `None` for the business backend.
        operator: Option<UserId>,
        /// The change.
        change: GroupEvent,
    },
    /// `user` asked `friend` to be friends: `friend.requested`.
    FriendRequested {
        /// The user that asked.
        user: UserId,
        /// The user that was asked.
        friend: UserId,
        /// Text of the request.
        description: String,
    },
    /// `user` accepted the request of `friend`: `friend.accepted`.
    FriendAccepted {
        /// The user that accepted.
        user: UserId,
        /// The user that had asked.
        friend: UserId,
    },
    /// A user has a live connection again: `user.online`.
    Online {
        /// The user.
        user: UserId,
    },
    /// A user has no live connection any more: `user.offline`.
    Offline {
        /// The user.
        user: UserId,
    },
}

impl EventBody {
    /// Returns the kind of the event. A message's event has the kind `message.created`;
    /// `message.offline` is derived from it.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Message { .. } => EventKind::MessageCreated,
            Self::RoomMessage { .. } => EventKind::RoomMessage,
            Self::Group { .. } => EventKind::GroupChanged,
            Self::FriendRequested { .. } => EventKind::FriendRequested,
            Self::FriendAccepted { .. } => EventKind::FriendAccepted,
            Self::Online { .. } => EventKind::UserOnline,
            Self::Offline { .. } => EventKind::UserOffline,
        }
    }

    /// Returns the receiver whose order the event keeps: events of one hook with the same receiver
    /// are stored, and must be delivered, in the order of their changes.
    #[must_use]
    pub fn receiver(&self) -> MessageReceiver {
        match self {
            Self::Message { message, .. } | Self::RoomMessage { message, .. } => message.receiver,
            Self::Group { group, .. } => MessageReceiver::Group(*group),
            Self::FriendRequested { friend, .. } | Self::FriendAccepted { friend, .. } => {
                MessageReceiver::User(*friend)
            }
            Self::Online { user } | Self::Offline { user } => MessageReceiver::User(*user),
        }
    }
}

/// A change of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupEvent {
    /// The group was created with these members; the operator is its admin.
    Created(Arc<[UserId]>),
    /// Fields of the group were set; `None` for those that stayed.
    Edited {
        /// The new name.
        name: Option<String>,
        /// The new picture.
        avatar_url: Option<String>,
        /// The new description.
        introduction: Option<String>,
        /// The new application data.
        extra: Option<String>,
    },
    /// Members were added.
    Added(Arc<[UserId]>),
    /// A member was removed, or left.
    Removed(UserId),
    /// Fields of a member were set; `None` for those that stayed.
    MemberEdited {
        /// The member.
        user: UserId,
        /// Set if its role changed: whether it is an admin now.
        admin: Option<bool>,
        /// The member's new name in the group.
        remarks: Option<String>,
        /// The new application data.
        extra: Option<String>,
    },
}
