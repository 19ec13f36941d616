//! Kinds of events, with the names that configurations and receivers use.

use std::fmt;

/// Kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// A message of a user or of the business backend was stored in inboxes.
    MessageCreated,
    /// Recipients of such a message have no live connection. Derived when the event is delivered,
    /// from the same stored event as [`MessageCreated`](Self::MessageCreated).
    MessageOffline,
    /// A message was published in a room. Best effort, as rooms are.
    RoomMessage,
    /// A group was created, or its data or members changed.
    GroupChanged,
    /// A user asked another one to be friends.
    FriendRequested,
    /// A user accepted such a request.
    FriendAccepted,
    /// A user without a live connection has one again. Best effort, and delayed so that a short
    /// reconnect is not reported.
    UserOnline,
    /// A user has no live connection any more. Best effort, and delayed as
    /// [`UserOnline`](Self::UserOnline) is.
    UserOffline,
}

impl EventKind {
    /// All kinds, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::MessageCreated,
        Self::MessageOffline,
        Self::RoomMessage,
        Self::GroupChanged,
        Self::FriendRequested,
        Self::FriendAccepted,
        Self::UserOnline,
        Self::UserOffline,
    ];

    /// Returns the name, as `message.created`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MessageCreated => "message.created",
            Self::MessageOffline => "message.offline",
            Self::RoomMessage => "room.message",
            Self::GroupChanged => "group.changed",
            Self::FriendRequested => "friend.requested",
            Self::FriendAccepted => "friend.accepted",
            Self::UserOnline => "user.online",
            Self::UserOffline => "user.offline",
        }
    }

    /// Returns the kind with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
