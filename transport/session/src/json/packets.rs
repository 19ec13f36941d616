//! The packets as JSON objects, each declared once. The fields `type` and `request_id` are around
//! them.

use gimlet_core::id::{DeviceId, GroupId, RoomId, UserId};
use gimlet_core::seq::Seq;
use gimlet_json::{EntryInfo, JsonContent, WholeNumber, choice, object};
use gimlet_proto::pb::{ComeBack, PackageType};

object! {
    /// Signs the connection in as a user on a device. A connection begins with it.
    pub(crate) SignInPacket {
        /// The token: `USER.DEVICE.TOKEN`, as the HTTP API returns it, a JWT with the claim `device`, or
        /// the token alone beside `user_id` and `device_id`.
        token: String,
        /// The user; only with `device_id`, and a token without them.
        user_id: Option<UserId>,
        /// The device; only with `user_id`.
        device_id: Option<DeviceId>,
    }
}

object! {
    /// Asks for the entries of the inbox after a seq. Once the answer has `more` false, new entries
    /// are pushed.
    pub(crate) SyncPacket {
        /// The seq after which the page starts; 0, the default, is the beginning.
        after: Option<Seq>,
    }
}

object! {
    /// Keeps the connection open, and asks for the head of the inbox.
    pub(crate) HeartbeatPacket {}
}

object! {
    /// Reports up to which seq this device has stored the entries. It has no answer.
    pub(crate) AckPacket {
        /// The seq.
        seq: Seq,
    }
}

object! {
    /// Follows a room, in place of the one before.
    pub(crate) SubscribeRoomPacket {
        /// The room; without it, no room is followed any more.
        room_id: Option<RoomId>,
        /// The seq in the room from which its kept messages are sent; by default only new ones are.
        from: Option<Seq>,
    }
}

object! {
    /// Sends a message to a user or to a group. It is answered once the message is durable.
    pub(crate) SendPacket {
        /// The receiving user; either this or `to_group`.
        to_user: Option<UserId>,
        /// The receiving group; either this or `to_user`.
        to_group: Option<GroupId>,
        /// The content.
        content: JsonContent,
        /// The client's id of this send, for example a UUID: a repeat with the same id stores nothing
        /// more and gets the first answer.
        client_message_id: Option<String>,
        /// The mentioned users.
        mentions: Option<Vec<UserId>>,
        /// False for a message that only current connections get. By default it is stored.
        store: Option<bool>,
        /// The time of sending, in milliseconds since 1970; by default the server's time.
        sent_at_ms: Option<i64>,
    }
}

object! {
    /// The answer to `sign_in`.
    pub(crate) SignInAnswer {
        /// Identity of the inbox's history. If it changes, the server has lost entries, for example
        /// by a restore: read the inbox again from 0.
        epoch: WholeNumber,
        /// The seq of the inbox's last entry.
        head: Seq,
    }
}

object! {
    /// The answer to `sync`: entries, ascending.
    pub(crate) InboxPage {
        /// The entries.
        entries: Vec<EntryInfo>,
        /// True if the inbox continues after the last of them.
        more: bool,
        /// The seq of the inbox's last entry.
        head: Seq,
        /// The seq up to which the server has removed entries.
        floor: Seq,
        /// Identity of the inbox's history; see the answer to `sign_in`.
        epoch: WholeNumber,
    }
}

object! {
    /// The answer to `heartbeat`.
    pub(crate) HeartbeatAnswer {
        /// Identity of the inbox's history; see the answer to `sign_in`.
        epoch: WholeNumber,
        /// The seq of the inbox's last entry.
        head: Seq,
    }
}

object! {
    /// The answer to `subscribe_room`.
    pub(crate) SubscribeRoomAnswer {}
}

object! {
    /// The answer to `send`.
    pub(crate) SendAnswer {
        /// The message's id, a UUID.
        message_id: String,
        /// The seq of the sender's own copy; 0 if nothing was stored.
        seq: Seq,
        /// True if this was the repeat of a send, and nothing more was stored.
        repeated: bool,
    }
}

object! {
    /// A refused packet.
    pub(crate) ErrorInfo {
        /// gimlet's code, the same on every wire: 10000 to 10016, or a gRPC code.
        code: i32,
        /// The reason, with the value that would be right.
        detail: String,
        /// Milliseconds after which the same packet may succeed.
        retry_after_ms: Option<i64>,
    }
}

object! {
    /// The answer to a packet that was refused: of the type of that packet, or of type `error` if it
    /// has none.
    pub(crate) RefusalPacket {
        /// The reason.
        error: ErrorInfo,
    }
}

choice! {
    /// Action of a client after a close.
    pub(crate) ComeBackWord {
        /// Connects again at once, after a random part of a second or of `retry_after_ms`.
        Now = "now",
        /// Connects again with delays that grow.
        Backoff = "backoff",
        /// Signs in anew, for another token.
        SignIn = "sign_in",
        /// Does not connect again by itself.
        Never = "never",
    }
    expected "\"now\", \"backoff\", \"sign_in\" or \"never\""
}

object! {
    /// The last packet before the server closes the connection.
    pub(crate) ClosePacket {
        /// The code, which the WebSocket's close frame has too.
        code: i32,
        /// The reason.
        reason: String,
        /// Action of the client: `now` or `backoff` to connect again, `sign_in` for another
        /// token, `never`.
        come_back: ComeBackWord,
        /// Milliseconds over which clients should spread their return.
        retry_after_ms: Option<i64>,
    }
}

impl From<ComeBack> for ComeBackWord {
    fn from(come_back: ComeBack) -> Self {
        match come_back {
            ComeBack::NowWithJitter => Self::Now,
            ComeBack::Unknown | ComeBack::Backoff => Self::Backoff,
            ComeBack::SignInAgain => Self::SignIn,
            ComeBack::Never => Self::Never,
        }
    }
}

/// Types of the packets of clients.
pub(super) const REQUEST_WORDS: [(&str, PackageType); 6] = [
    ("sign_in", PackageType::PtSignIn),
    ("sync", PackageType::PtSync),
    ("heartbeat", PackageType::PtHeartbeat),
    ("ack", PackageType::PtMessage),
    ("subscribe_room", PackageType::PtSubscribeRoom),
    ("send", PackageType::PtSend),
];

/// The type of an answer to a packet without a known type.
pub(super) const ERROR_WORD: &str = "error";
/// The type of an entry of the inbox.
pub(super) const MESSAGE_WORD: &str = "message";
/// The type of a message outside the inbox.
pub(super) const LIVE_WORD: &str = "live";
/// The type of a message of a room.
pub(super) const ROOM_WORD: &str = "room";
/// The type of the last packet.
pub(super) const CLOSE_WORD: &str = "close";

/// Returns the type of the answer to a packet of this kind.
pub(super) fn answer_word(kind: i32) -> &'static str {
    let known = REQUEST_WORDS.iter();
    known
        .filter(|(_, package)| *package != PackageType::PtMessage)
        .find(|(_, package)| *package as i32 == kind)
        .map_or(ERROR_WORD, |(word, _)| word)
}
