//! Notifications: events as an endpoint gets them, complete with the senders' profiles.

use std::sync::Arc;

use crate::envelope::Envelope;
use crate::events::{EventKind, GroupEvent};
use crate::id::{GroupId, UserId};
use crate::seq::Seq;
use crate::time::UnixTimestamp;

/// A notification about an event.
#[derive(Clone, Debug)]
pub struct HookNotification {
    /// Its id, a UUID. Notifications with the same id have the same content.
    pub id: String,
    /// Time of the change, by the server's clock.
    pub at: UnixTimestamp,
    /// The event.
    pub body: NotificationBody,
}

/// The event that a notification is about.
#[derive(Clone, Debug)]
pub enum NotificationBody {
    /// A message was stored: `message.created`.
    MessageCreated(Arc<Envelope>),
    /// A user without a live connection has new messages: `message.offline`.
    MessageOffline {
        /// The user.
        user: UserId,
        /// The messages, in the order of their events.
        messages: Vec<Arc<Envelope>>,
    },
    /// A message was published in a room: `room.message`.
    RoomMessage {
        /// The message.
        envelope: Arc<Envelope>,
        /// Its seq in the room.
        seq: Seq,
    },
    /// A group was created or changed: `group.changed`.
    GroupChanged {
        /// The group.
        group: GroupId,
        /// Version of its roster after the change.
        version: u64,
        /// The user that made the change; `None` for the backend.
        operator: Option<UserId>,
        /// The change.
        change: GroupEvent,
    },
    /// A user asked another one to be friends: `friend.requested`.
    FriendRequested {
        /// The user that asked.
        user: UserId,
        /// The user that was asked.
        friend: UserId,
        /// Text of the request.
        description: String,
    },
    /// A user accepted a request: `friend.accepted`.
    FriendAccepted {
        /// The user that accepted.
        user: UserId,
        /// The user that had asked.
        friend: UserId,
    },
    /// A user has a live connection again: `user.online`.
    UserOnline(UserId),
    /// A user has no live connection any more: `user.offline`.
    UserOffline(UserId),
    /// An operator tests the hook: `webhook.test`.
    Test,
}

impl NotificationBody {
    /// Name of a test, which no configuration needs to name.
    pub const TEST_NAME: &'static str = "webhook.test";

    /// Returns the name of the event, as `message.created`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        let kind = match self {
            Self::MessageCreated(_) => EventKind::MessageCreated,
            Self::MessageOffline { .. } => EventKind::MessageOffline,
            Self::RoomMessage { .. } => EventKind::RoomMessage,
            Self::GroupChanged { .. } => EventKind::GroupChanged,
            Self::FriendRequested { .. } => EventKind::FriendRequested,
            Self::FriendAccepted { .. } => EventKind::FriendAccepted,
            Self::UserOnline(_) => EventKind::UserOnline,
            Self::UserOffline(_) => EventKind::UserOffline,
            Self::Test => return Self::TEST_NAME,
        };
        kind.name()
    }
}
