//! Messages: drafts of clients, stored messages, and inbox entries.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::id::{DeviceId, GroupId, MessageId, RoomId, UserId};
use crate::seq::Seq;
use crate::time::UnixTimestamp;

pub use crate::unknown::UnknownFields;

/// A message's content: opaque to the server, never printed.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct MessageContent(pub Bytes);

impl MessageContent {
    /// Copies the content out of the receive buffer. A slice would keep the whole buffer, which a
    /// sender can make thousands of times as large, as long as the message is kept. All content
    /// from a socket or a call enters here; the stores copy texts.
    #[must_use]
    pub fn copied_from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }

    /// Returns the length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns `true` if the content is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for MessageContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} B)", self.0.len())
    }
}

/// The sender of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageSender {
    /// gimlet itself, for friend and group events.
    System,
    /// A user's device.
    User {
        /// The user.
        user: UserId,
        /// The device; `None` if it is unknown.
        device: Option<DeviceId>,
    },
    /// The business backend.
    Business,
}

impl MessageSender {
    /// Returns the sending device, if a device sent the message.
    #[must_use]
    pub const fn device(self) -> Option<DeviceId> {
        match self {
            Self::User { device, .. } => device,
            Self::System | Self::Business => None,
        }
    }

    /// Returns the sending user, if a user sent the message.
    #[must_use]
    pub const fn user(self) -> Option<UserId> {
        match self {
            Self::User { user, .. } => Some(user),
            Self::System | Self::Business => None,
        }
    }
}

/// The addressee of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageReceiver {
    /// One user.
    User(UserId),
    /// Every member of a group.
    Group(GroupId),
    /// The current subscribers of a room.
    Room(RoomId),
    /// Every signed-in connection (a broadcast).
    Everyone,
}

/// A stored or live message, without a seq.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The id, made by the node that accepted the message.
    pub id: MessageId,
    /// The sender.
    pub sender: MessageSender,
    /// The addressee.
    pub receiver: MessageReceiver,
    /// Mentioned users; passed on without a meaning to the server.
    pub mentions: Vec<UserId>,
    /// gim's `MessageType`, passed on unchecked.
    pub kind: i32,
    /// The content.
    pub content: MessageContent,
    /// Send time: as stated by the sender, or the server's time.
    pub sent_at: UnixTimestamp,
    /// Fields that a newer release stored with it.
    pub unknown: UnknownFields,
}

/// An entry of an inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxEntry {
    /// The entry's seq in that inbox.
    pub seq: Seq,
    /// The message.
    pub message: Arc<Message>,
}

/// A message to be sent, with each field checked but not accepted yet.
#[derive(Clone, Debug)]
pub struct MessageDraft {
    /// The addressee: a user or a group.
    pub receiver: MessageReceiver,
    /// Mentioned users.
    pub mentions: Vec<UserId>,
    /// gim's `MessageType`.
    pub kind: i32,
    /// The content.
    pub content: MessageContent,
    /// The time stated by the sender; 0 if it states none, and then the server's time is used.
    pub sent_at: UnixTimestamp,
    /// True if the message is stored; otherwise it is only pushed to current connections.
    pub persist: bool,
    /// The client's id of this send, which identifies a repeat; at most 64 bytes by default.
    pub client_id: Option<String>,
    /// gim's `request_id` metadata of the call, if present; passed on to group members.
    pub request_id: Option<i64>,
}

impl MessageDraft {
    /// Makes a stored text message to a user, without a client id, for examples and tests. The
    /// content is the text itself, not gim's `Text`.
    #[must_use]
    pub fn text(to: UserId, text: &str) -> Self {
        Self {
            receiver: MessageReceiver::User(to),
            mentions: Vec::new(),
            kind: 1,
            content: MessageContent(Bytes::copy_from_slice(text.as_bytes())),
            sent_at: UnixTimestamp::default(),
            persist: true,
            client_id: None,
            request_id: None,
        }
    }
}

/// The part of a user that is shown with its messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserProfile {
    /// The display name.
    pub nickname: String,
    /// URL of the picture.
    pub avatar_url: String,
    /// The business backend's own data.
    pub extra: String,
}
