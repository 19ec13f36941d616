//! The events for the application: decoded messages, and changes of the connection.

use std::time::Duration;

use bytes::Bytes;
use gimlet_proto::pb;
use prost::Message as _;

use crate::options::DeviceCredentials;

/// An event; events come in order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// A connection is signed in. Missed messages follow, then [`ClientEvent::CaughtUp`].
    Connected {
        /// The epoch of the inbox.
        epoch: u64,
        /// The highest seq in the inbox.
        head: i64,
    },
    /// All stored messages were delivered; later ones are live. Once per connection, unless the
    /// application is so slow that a later change of the connection replaces it.
    CaughtUp {
        /// The highest seq delivered.
        seq: i64,
    },
    /// A stored message; each is delivered once and in the order of its seq.
    Message(ReceivedMessage),
    /// A stored message of the system about friends or groups, numbered like
    /// [`ClientEvent::Message`].
    Push(ReceivedMessage, SystemPush),
    /// A message that is not stored: seq 0, best effort.
    Live(ReceivedMessage),
    /// A message of the subscribed room; its seq is the room's. Best effort.
    Room(ReceivedMessage),
    /// A message to everybody. Best effort.
    Broadcast(ReceivedMessage),
    /// Entries were removed by the server's retention policy before this device saw them.
    Trimmed {
        /// The last entry that was removed.
        up_to: i64,
    },
    /// The application was so slow that this many messages that are not stored, of the room, to
    /// everybody or to this user, were dropped.
    Missed {
        /// Number of dropped messages.
        count: u64,
    },
    /// The connection was lost; the client reconnects by itself.
    Disconnected {
        /// The reason, in words.
        reason: String,
        /// Time until the next attempt.
        retry_in: Duration,
    },
    /// The server's storage was replaced or restored: the inbox starts over from 1. Discard
    /// everything that is known by seq.
    HistoryChanged {
        /// The new epoch.
        epoch: u64,
    },
    /// The same device signed in elsewhere. Terminal, unless configured otherwise.
    Superseded,
    /// The server does not accept the credentials, or no longer does: sign in again. Terminal.
    SignedOut {
        /// The code of the refused sign-in, or of the close.
        code: i32,
        /// The server's text.
        message: String,
    },
    /// The server asked this client not to reconnect. Terminal.
    TurnedAway {
        /// The code of the close.
        code: i32,
        /// The server's text.
        message: String,
    },
}

impl ClientEvent {
    /// Returns whether this is a change of the connection, of which the latest counts.
    pub(crate) const fn is_change(&self) -> bool {
        matches!(
            self,
            Self::Connected { .. } | Self::CaughtUp { .. } | Self::Disconnected { .. }
        )
    }
}

/// The receiver of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageTarget {
    /// A user.
    User(i64),
    /// A group.
    Group(i64),
    /// A room; room 0 is everybody.
    Room(i64),
}

/// The sender of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageSender {
    /// The messaging system.
    System,
    /// A user, with the profile as the server gave it.
    User {
        /// The user.
        id: i64,
        /// The sending device, 0 if not known.
        device_id: i64,
        /// The user's name, may be empty.
        nickname: String,
        /// The user's picture, may be empty.
        avatar_url: String,
        /// The application's data in the profile.
        extra: String,
    },
    /// The business server.
    Business,
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum MessageContent {
    /// Text.
    Text(String),
    /// A face.
    Face(pb::Face),
    /// A recording.
    Voice(pb::Voice),
    /// A picture.
    Image(pb::Image),
    /// A file.
    File(pb::File),
    /// A location.
    Location(pb::Location),
    /// Something for the program: codes from 1000 up are the application's own.
    Command(pb::Command),
    /// Data of the application's own format.
    Custom(String),
    /// A type this client does not know, or bytes that are not of their type.
    Other {
        /// The type's number.
        kind: i32,
        /// The bytes as they came.
        bytes: Bytes,
    },
}

impl MessageContent {
    /// Text content.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Returns the type's number and the encoded content.
    pub(crate) fn encode(&self) -> (i32, Bytes) {
        use pb::MessageType as T;
        let (kind, bytes) = match self {
            Self::Text(text) => (T::MtText, pb::Text { text: text.clone() }.encode_to_vec()),
            Self::Face(face) => (T::MtFace, face.encode_to_vec()),
            Self::Voice(voice) => (T::MtVoice, voice.encode_to_vec()),
            Self::Image(image) => (T::MtImage, image.encode_to_vec()),
            Self::File(file) => (T::MtFile, file.encode_to_vec()),
            Self::Location(place) => (T::MtLocation, place.encode_to_vec()),
            Self::Command(command) => (T::MtCommand, command.encode_to_vec()),
            Self::Custom(data) => {
                let data = data.clone();
                (T::MtCustom, pb::Custom { data }.encode_to_vec())
            }
            Self::Other { kind, bytes } => return (*kind, bytes.clone()),
        };
        (kind as i32, bytes.into())
    }

    fn decode(kind: i32, bytes: Bytes) -> Self {
        use pb::MessageType as T;
        let decoded = match T::try_from(kind) {
            Ok(T::MtText) => pb::Text::decode(bytes.clone()).map(|t| Self::Text(t.text)),
            Ok(T::MtFace) => pb::Face::decode(bytes.clone()).map(Self::Face),
            Ok(T::MtVoice) => pb::Voice::decode(bytes.clone()).map(Self::Voice),
            Ok(T::MtImage) => pb::Image::decode(bytes.clone()).map(Self::Image),
            Ok(T::MtFile) => pb::File::decode(bytes.clone()).map(Self::File),
            Ok(T::MtLocation) => pb::Location::decode(bytes.clone()).map(Self::Location),
            Ok(T::MtCommand) => pb::Command::decode(bytes.clone()).map(Self::Command),
            Ok(T::MtCustom) => pb::Custom::decode(bytes.clone()).map(|c| Self::Custom(c.data)),
            Ok(T::MtUnknown) | Err(_) => return Self::Other { kind, bytes },
        };
        decoded.unwrap_or(Self::Other { kind, bytes })
    }
}

/// A received message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceivedMessage {
    /// Its number in this user's inbox or in the room; 0 if it was not stored.
    pub seq: i64,
    /// Its own id (16 bytes, a UUID), the same for all receivers; empty if it has none.
    pub message_id: Bytes,
    /// The sender.
    pub sender: MessageSender,
    /// The receiver.
    pub receiver: MessageTarget,
    /// The mentioned users.
    pub mentions: Vec<i64>,
    /// The content.
    pub content: MessageContent,
    /// When it was sent, milliseconds since 1970 UTC, by the sender's clock.
    pub sent_at_ms: i64,
    /// True if this user sent it, from any device.
    pub own: bool,
    /// True if this device sent it, as far as the server reports devices.
    pub own_device: bool,
}

/// A message of the system about friends and groups (`PushCode`).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SystemPush {
    /// 100: somebody asks to be a friend.
    FriendRequest(pb::AddFriendPush),
    /// 101: a request of this user was accepted.
    FriendAgreed(pb::AgreeAddFriendPush),
    /// 110: a group was changed; the receiver says which.
    GroupUpdated(pb::UpdateGroupPush),
    /// 120: members were added.
    MembersAdded(pb::AddGroupMembersPush),
    /// 121: a member was removed; it may be this user.
    MemberRemoved(pb::RemoveGroupMemberPush),
}

impl SystemPush {
    fn decode(command: &pb::Command) -> Option<Self> {
        use pb::PushCode as C;
        let data = command.data.clone();
        match C::try_from(command.code).ok()? {
            C::PcAddFriend => pb::AddFriendPush::decode(data)
                .ok()
                .map(Self::FriendRequest),
            C::PcAgreeAddFriend => {
                let push = pb::AgreeAddFriendPush::decode(data).ok();
                push.map(Self::FriendAgreed)
            }
            C::PcUpdateGroup => {
                let push = pb::UpdateGroupPush::decode(data).ok();
                push.map(Self::GroupUpdated)
            }
            C::PcAddGroupMembers => {
                let push = pb::AddGroupMembersPush::decode(data).ok();
                push.map(Self::MembersAdded)
            }
            C::PcRemoveGroupMember => {
                let push = pb::RemoveGroupMemberPush::decode(data).ok();
                push.map(Self::MemberRemoved)
            }
            C::PcAddDefault => None,
        }
    }
}

/// Converts a wire message into an event, from the point of view of `who`.
pub(crate) fn event(message: pb::Message, who: &DeviceCredentials) -> ClientEvent {
    use pb::{ReceiverType, SenderType};
    let id = message.receiver_id;
    let receiver = match message.receiver_type() {
        ReceiverType::RtRoom => MessageTarget::Room(id),
        ReceiverType::RtGroup => MessageTarget::Group(id),
        ReceiverType::RtUser | ReceiverType::RtUnknown => MessageTarget::User(id),
    };
    let from = message.sender.unwrap_or_default();
    let own = from.sender_type() == SenderType::StUser && from.sender_id == who.user_id;
    let own_device = own && from.device_id == who.device_id;
    let sender = match from.sender_type() {
        SenderType::StUser => MessageSender::User {
            id: from.sender_id,
            device_id: from.device_id,
            nickname: from.nickname,
            avatar_url: from.avatar_url,
            extra: from.extra,
        },
        SenderType::StBusiness => MessageSender::Business,
        SenderType::StSystem | SenderType::StUnknown => MessageSender::System,
    };
    let inbound = ReceivedMessage {
        seq: message.seq,
        message_id: message.message_id,
        receiver,
        mentions: message.to_user_ids,
        content: MessageContent::decode(message.message_type, message.message_content),
        sent_at_ms: message.send_time,
        own,
        own_device,
        sender,
    };
    match (receiver, &inbound.content, &inbound.sender) {
        (MessageTarget::Room(0), ..) => ClientEvent::Broadcast(inbound),
        (MessageTarget::Room(_), ..) => ClientEvent::Room(inbound),
        (_, MessageContent::Command(command), MessageSender::System) => {
            match SystemPush::decode(command) {
                Some(push) => ClientEvent::Push(inbound, push),
                None => ClientEvent::Message(inbound),
            }
        }
        _ if inbound.seq <= 0 => ClientEvent::Live(inbound),
        _ => ClientEvent::Message(inbound),
    }
}

#[cfg(test)]
mod tests;
