//! The ids of events, and the data of the first and the last one.

use std::fmt;

use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::seq::Seq;

use crate::json::{WholeNumber, object};

object! {
    /// The first event, `start`.
    StreamStart {
        /// The user.
        user_id: UserId,
        /// The device.
        device_id: DeviceId,
        /// The seq after which the stream starts.
        after: Seq,
        /// The seq of the inbox's last entry.
        head: Seq,
        /// The seq up to which the server has removed entries.
        floor: Seq,
        /// Identity of the inbox's history; see `InboxPage`.
        epoch: WholeNumber,
    }
}

object! {
    /// The last event, `close`.
    StreamEnd {
        /// The code of the close, as sockets have it.
        code: i32,
        /// The reason.
        reason: String,
        /// False if the client must not come back with this token, or not by itself.
        reconnect: bool,
        /// Milliseconds after which the client may come back.
        retry_after_ms: Option<i64>,
    }
}

/// Position of a client: its last entry, and its last message of the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamPosition {
    pub(super) inbox: Seq,
    pub(super) room: Option<Seq>,
}

impl StreamPosition {
    /// Reads the id of an event: `SEQ`, or `SEQ/ROOM_SEQ` of a stream that follows a room.
    pub(super) fn parse(id: &str) -> Option<Self> {
        let (inbox, room) = match id.split_once('/') {
            Some((inbox, room)) => (inbox, Some(seq(room)?)),
            None => (id, None),
        };
        Some(Self {
            inbox: seq(inbox)?,
            room,
        })
    }
}

impl fmt::Display for StreamPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inbox)?;
        match self.room {
            Some(room) => write!(f, "/{room}"),
            None => Ok(()),
        }
    }
}

/// Reads a seq.
pub(super) fn seq(text: &str) -> Option<Seq> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number
        .then(|| text.parse().ok().and_then(Seq::from_wire))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        for id in ["0", "7", "7/0", "7/33", "9223372036854775807"] {
            assert_eq!(StreamPosition::parse(id).unwrap().to_string(), id);
        }
        for wrong in [
            "",
            "-1",
            "+1",
            "x",
            "7/",
            "/7",
            "7/x",
            "7/1/2",
            "9223372036854775808",
            " 7",
        ] {
            assert_eq!(StreamPosition::parse(wrong), None, "{wrong}");
        }
    }
}
