//! What a caller of the client gets instead of an answer. Reconnecting is not among them: the
//! client does that by itself and tells of it by events.

use std::io;
use std::time::Duration;

/// Why a request of the application did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused it; asking again in the same way would be refused again.
    #[error("refused ({code}): {message}")]
    Refused {
        /// A `RefusalCode`: gim's numbers from 10000 up, or a standard gRPC code.
        code: i32,
        /// The server's words.
        message: String,
    },
    /// The deadline passed first. With `maybe_done` it is unknown whether the server did it: a
    /// send repeated with the same id cannot make a second message.
    #[error("no answer within {} s{}", .after.as_secs_f32(), last.as_deref().map(|l| format!(" (last: {l})")).unwrap_or_default())]
    Deadline {
        /// How long it was tried.
        after: Duration,
        /// Whether it reached the wire at least once.
        maybe_done: bool,
        /// What stood in the way last, if anything did.
        last: Option<String>,
    },
    /// A message that is not to be stored was written when the connection broke. Such sends carry
    /// no promise and are not repeated.
    #[error("the connection broke while a message that is not stored was on its way")]
    Unknown,
    /// The request is longer than a frame can carry.
    #[error("{len} bytes do not fit a frame of {max}: send a link instead")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The most that fits.
        max: usize,
    },
    /// The request makes no sense; the text says what would.
    #[error("{0}")]
    Invalid(String),
    /// The client was closed, or ended by a terminal event.
    #[error("the client is closed")]
    Closed,
    /// The cursor could not be read at the start.
    #[error("the stored cursor cannot be read: {0}")]
    Cursor(#[source] io::Error),
}

/// Why a gRPC call did not succeed, with the number as it stood on the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct ApiError {
    /// `grpc-status` as sent, gim's numbers from 10000 up; 14 if the server cannot be reached, 4 if
    /// the connection broke or the time ran out, so that it may have been done.
    pub code: i32,
    /// The server's words, or the transport's.
    pub message: String,
}
