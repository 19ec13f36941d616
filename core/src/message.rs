//! Messages: what a client drafts, what is stored, what an inbox entry is.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::id::{DeviceId, GroupId, MessageId, RoomId, UserId};
use crate::seq::Seq;
use crate::time::Timestamp;

pub use crate::unknown::UnknownFields;

/// A message's content: opaque to the server, never printed.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Content(pub Bytes);

impl Content {
    /// Copies the content out of the buffer that it came in. A slice of that buffer would keep all of
    /// it, which a sender can make thousands of times as large, for as long as the message is kept.
    /// Everything that comes from a socket or a call enters here; texts are copied by the stores.
    #[must_use]
    pub fn copied_from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} B)", self.0.len())
    }
}

/// Who a message is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// gimlet itself: friend and group events.
    System,
    /// A user's device.
    User {
        /// The user.
        user: UserId,
        /// The device; `None` where it is not known.
        device: Option<DeviceId>,
    },
    /// The business backend.
    Business,
}

impl Sender {
    /// The sending device, if a device sent it.
    #[must_use]
    pub const fn device(self) -> Option<DeviceId> {
        match self {
            Self::User { device, .. } => device,
            Self::System | Self::Business => None,
        }
    }

    /// The sending user, if a user sent it.
    #[must_use]
    pub const fn user(self) -> Option<UserId> {
        match self {
            Self::User { user, .. } => Some(user),
            Self::System | Self::Business => None,
        }
    }
}

/// Whom a message is addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Receiver {
    /// One user.
    User(UserId),
    /// Every member of a group.
    Group(GroupId),
    /// Whoever is subscribed to a room.
    Room(RoomId),
    /// Every signed-in connection (a broadcast).
    Everyone,
}

/// A stored or live message, without its place in any inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id, made by the node that accepted it.
    pub id: MessageId,
    /// Who sent it.
    pub sender: Sender,
    /// Whom it is addressed to.
    pub receiver: Receiver,
    /// Users it mentions; carried through, without meaning to the server.
    pub mentions: Vec<UserId>,
    /// gim's `MessageType`, carried through unchecked.
    pub kind: i32,
    /// The content.
    pub content: Content,
    /// When it was sent: as the sender states it, or the server's time.
    pub sent_at: Timestamp,
    /// Fields that a newer release stored with it.
    pub unknown: UnknownFields,
}

/// An entry of an inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in that inbox.
    pub seq: Seq,
    /// The message.
    pub message: Arc<Message>,
}

/// What a sender wants sent, checked field by field but not yet decided on.
#[derive(Clone, Debug)]
pub struct Draft {
    /// To a user or a group.
    pub receiver: Receiver,
    /// Users it mentions.
    pub mentions: Vec<UserId>,
    /// gim's `MessageType`.
    pub kind: i32,
    /// The content.
    pub content: Content,
    /// The time the sender states; 0 for none, and then the server's time is shown.
    pub sent_at: Timestamp,
    /// Whether it is stored; otherwise it is pushed live and forgotten.
    pub persist: bool,
    /// The client's id of this send, by which a repeat is recognised; at most 64 bytes.
    pub client_id: Option<String>,
    /// gim's `request_id` metadata of the call, if it had one; pushed along to group members.
    pub request_id: Option<i64>,
}

impl Draft {
    /// A stored text message to a user, without a client id; for examples and tests. The content is
    /// the text itself, not gim's `Text`.
    #[must_use]
    pub fn text(to: UserId, text: &str) -> Self {
        Self {
            receiver: Receiver::User(to),
            mentions: Vec::new(),
            kind: 1,
            content: Content(Bytes::copy_from_slice(text.as_bytes())),
            sent_at: Timestamp::default(),
            persist: true,
            client_id: None,
            request_id: None,
        }
    }
}

/// What a user shows of itself beside a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The displayed name.
    pub nickname: String,
    /// Where the picture is.
    pub avatar_url: String,
    /// The business backend's own data.
    pub extra: String,
}
