//! Messages as clients see them.

use std::fmt::Write as _;

use gimlet_core::envelope::Envelope;
use gimlet_core::id::{GroupId, MessageId, RoomId, UserId};
use gimlet_core::message::{Message, MessageReceiver, MessageSender, UserProfile};
use gimlet_core::seq::Seq;
use gimlet_core::time::UnixTimestamp;
use uuid::Uuid;

use crate::content::JsonContent;
use crate::{choice, object};

choice! {
    /// Kind of a sender.
    pub SenderKind {
        /// A user.
        User = "user",
        /// The backend.
        Business = "business",
        /// gimlet itself.
        System = "system",
    }
    expected "\"user\", \"business\" or \"system\""
}

object! {
    /// The sender of a message.
    pub SenderInfo {
        /// The kind of sender.
        r#type: SenderKind,
        /// The user, if a user sent it.
        user_id: Option<UserId>,
        /// The user's name.
        nickname: Option<String>,
        /// The user's picture.
        avatar_url: Option<String>,
        /// The application's data of the user.
        extra: Option<String>,
    }
}

choice! {
    /// Kind of a receiver.
    pub ReceiverKind {
        /// A user.
        User = "user",
        /// A group.
        Group = "group",
        /// A room.
        Room = "room",
        /// Every connection.
        Everyone = "everyone",
    }
    expected "\"user\", \"group\", \"room\" or \"everyone\""
}

object! {
    /// The receiver of a message.
    pub ReceiverInfo {
        /// The kind of receiver.
        r#type: ReceiverKind,
        /// The user.
        user_id: Option<UserId>,
        /// The group.
        group_id: Option<GroupId>,
        /// The room.
        room_id: Option<RoomId>,
    }
}

object! {
    /// A message.
    pub MessageInfo {
        /// The message's id, a UUID, the same for all receivers.
        id: String,
        /// The sender.
        sender: SenderInfo,
        /// The receiver.
        receiver: ReceiverInfo,
        /// The mentioned users.
        mentions: Option<Vec<UserId>>,
        /// The content.
        content: JsonContent,
        /// The time of sending (RFC 3339, UTC).
        sent_at: String,
        /// The time of sending, in milliseconds since 1970.
        sent_at_ms: i64,
    }
}

object! {
    /// An entry of an inbox.
    pub EntryInfo {
        /// The entry's seq.
        seq: Seq,
        /// The message.
        message: MessageInfo,
    }
}

object! {
    /// A message of a room.
    pub RoomMessageInfo {
        /// The room.
        room_id: RoomId,
        /// The message's seq in the room.
        seq: Seq,
        /// The message.
        message: MessageInfo,
    }
}

object! {
    /// A message outside the inbox: a broadcast, or one that was not to be stored.
    pub LiveMessageInfo {
        /// The message.
        message: MessageInfo,
    }
}

impl MessageInfo {
    /// Converts a message. The sending device is left out, as in a page of the sockets.
    #[must_use]
    pub fn of(envelope: &Envelope) -> Self {
        let (message, profile, _) = envelope.parts();
        Self::with_profile(message, profile)
    }

    /// Converts a message with this profile of its sender.
    #[must_use]
    pub fn with_profile(message: &Message, profile: &UserProfile) -> Self {
        // Without `..`: a field that is added to `Message` and not written here does not compile.
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
        let (sender_kind, user) = match sender {
            MessageSender::User { user, .. } => (SenderKind::User, Some(*user)),
            MessageSender::Business => (SenderKind::Business, None),
            MessageSender::System => (SenderKind::System, None),
        };
        let given = |text: &String| Some(text.clone()).filter(|it| !it.is_empty());
        Self {
            id: message_id(*id),
            sender: SenderInfo {
                r#type: sender_kind,
                user_id: user,
                nickname: given(&profile.nickname),
                avatar_url: given(&profile.avatar_url),
                extra: given(&profile.extra),
            },
            receiver: ReceiverInfo::of(*receiver),
            mentions: Some(mentions.clone()).filter(|it| !it.is_empty()),
            content: JsonContent::decode(*kind, content),
            sent_at: rfc3339(*sent_at),
            sent_at_ms: sent_at.0,
        }
    }
}

impl ReceiverInfo {
    fn of(receiver: MessageReceiver) -> Self {
        let of = |kind| Self {
            r#type: kind,
            user_id: None,
            group_id: None,
            room_id: None,
        };
        match receiver {
            MessageReceiver::User(user) => Self {
                user_id: Some(user),
                ..of(ReceiverKind::User)
            },
            MessageReceiver::Group(group) => Self {
                group_id: Some(group),
                ..of(ReceiverKind::Group)
            },
            MessageReceiver::Room(room) => Self {
                room_id: Some(room),
                ..of(ReceiverKind::Room)
            },
            MessageReceiver::Everyone => of(ReceiverKind::Everyone),
        }
    }
}

impl EntryInfo {
    /// Converts an entry.
    #[must_use]
    pub fn of(seq: Seq, envelope: &Envelope) -> Self {
        Self {
            seq,
            message: MessageInfo::of(envelope),
        }
    }
}

/// Writes the id of a message, a UUID.
#[must_use]
pub fn message_id(id: MessageId) -> String {
    Uuid::from_bytes(*id.as_bytes()).to_string()
}

/// Writes a time as RFC 3339 in UTC, with milliseconds. Times outside the years 0 to 9999, which a
/// sender may state, are written with more digits or a sign.
#[must_use]
pub fn rfc3339(at: UnixTimestamp) -> String {
    const DAY_MS: i64 = 86_400_000;
    let (days, rest) = (at.0.div_euclid(DAY_MS), at.0.rem_euclid(DAY_MS));
    // Days are counted from 0000-03-01, so that the leap day is the last one of its year, in cycles
    // of 400 years (146,097 days).
    let shifted = days + 719_468;
    let (cycle, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (month_day, month) = (
        day - (153 * month + 2) / 5 + 1,
        if month < 10 { month + 3 } else { month - 9 },
    );
    let year = year + cycle * 400 + i64::from(month <= 2);
    let (seconds, ms) = (rest / 1_000, rest % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let mut text = String::with_capacity(24);
    let _ = write!(
        text,
        "{year:04}-{month:02}-{month_day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1, "1970-01-01T00:00:00.001Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(UnixTimestamp(ms)), text);
        }
        // A sender states its own time.
        for extreme in [i64::MIN, i64::MAX] {
            assert!(rfc3339(UnixTimestamp(extreme)).ends_with('Z'));
        }
    }
}
