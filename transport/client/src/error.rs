//! Errors of the client's methods. A lost connection is not among them: the client reconnects by
//! itself and reports that by events.

use std::io;
use std::time::Duration;

/// Reasons that a request of the application failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server refused it, and would refuse the same request again.
    #[error("refused ({code}): {message}")]
    Refused {
        /// A `RefusalCode`: gim's numbers from 10000 up, or a standard gRPC code.
        code: i32,
        /// The server's text.
        message: String,
    },
    /// The deadline passed. With `maybe_done` the server may have done it: a send repeated with the
    /// same id cannot create a second message.
    #[error("no answer within {} s{}", .after.as_secs_f32(), last.as_deref().map(|l| format!(" (last: {l})")).unwrap_or_default())]
    Deadline {
        /// Time that it was tried for.
        after: Duration,
        /// True if it was written to a connection at least once.
        maybe_done: bool,
        /// The last obstacle, if there was one.
        last: Option<String>,
    },
    /// The connection broke after a message that is not stored was written. Such sends carry no
    /// promise and are not repeated.
    #[error("the connection broke while a message that is not stored was on its way")]
    Unknown,
    /// The request is longer than a frame can carry.
    #[error("{len} bytes do not fit a frame of {max}: send a link instead")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The largest length that fits.
        max: usize,
    },
    /// The request is invalid; the text says what would be valid.
    #[error("{0}")]
    Invalid(String),
    /// The client was closed, or ended by a terminal event.
    #[error("the client is closed")]
    Closed,
    /// The cursor could not be read at the start.
    #[error("the stored cursor cannot be read: {0}")]
    Cursor(#[source] io::Error),
}

/// The error of a gRPC call, with its status number as sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct ApiError {
    /// `grpc-status` as sent, gim's numbers from 10000 up; 14 if the server cannot be reached; 4 if
    /// the connection broke or the time ran out, so that the call may have been executed.
    pub code: i32,
    /// The text of the server, or of the transport.
    pub message: String,
}
