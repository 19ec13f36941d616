//! Refusals: the answers to requests that gimlet does not carry out.
//!
//! Three kinds of failure are kept apart: a [`StoreError`] is a fault of a storage engine, a
//! [`RequestRefusal`] is an answer to a caller, and a close (in the hub) ends a connection.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::id::{DeviceId, GroupId, UserId};
use crate::store::{StoreError, StoreErrorKind};

/// Retry hint for an unavailable store or node: a failover takes about that long.
const UNAVAILABLE_RETRY_AFTER: Duration = Duration::from_millis(500);

/// A negative answer. Its text says what was wrong and what would be right; [`code`](Self::code) is
/// the code on gim's wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefusal {
    /// 10000: the token is missing, wrong, expired or revoked; sign in again.
    #[error("unauthorized: {0}; sign in again")]
    Unauthorized(&'static str),
    /// 10001: the request itself is wrong; the text says how.
    #[error("{0}")]
    BadRequest(String),
    /// 10010: the verification code is wrong.
    #[error("the verification code is wrong; ask for a new one")]
    BadCode,
    /// 10011: only members may do this.
    #[error("not a member of group {0}; ask a member to be added")]
    NotInGroup(GroupId),
    /// 10013: the group does not exist.
    #[error("no group {0}")]
    NoSuchGroup(GroupId),
    /// 10014: the device does not exist.
    #[error("no device {0}; call RegisterDevice first")]
    NoSuchDevice(DeviceId),
    /// 10015: the two users are already friends.
    #[error("already friends with {0}")]
    AlreadyFriends(UserId),
    /// 10016: the user does not exist.
    #[error("no user {0}")]
    NoSuchUser(UserId),
    /// 10017: the user is banned; its tokens are not valid until the ban is lifted.
    #[error("this user is banned; ask the operator of this service")]
    Banned,
    /// 7: a rule of the group or of the server forbids the request.
    #[error("{0}")]
    Forbidden(&'static str),
    /// 7: a hook of the operator refused the message; the text is its reason.
    #[error("{0}")]
    Rejected(String),
    /// 6: the client message id was already used for other content.
    #[error("this client_message_id was used for another message; use a new id for a new message")]
    Conflict,
    /// 8: the caller exceeds its rate limit.
    #[error("too many requests; try again in {} ms", .retry_after.as_millis())]
    RateLimited {
        /// Time after which the request may succeed.
        retry_after: Duration,
    },
    /// 8: the group has too many accepted entries that are not delivered yet.
    #[error(
        "this group still has too many messages to deliver; try again in {} ms",
        .retry_after.as_millis()
    )]
    Backlog {
        /// Time after which the backlog may have room.
        retry_after: Duration,
    },
    /// 8: a limit of the server is reached; the text names it.
    #[error("{0}")]
    Exhausted(String),
    /// 14: too many sends wait for the store; nothing was done.
    #[error("the server is busy: nothing was stored; try again in {} ms", .retry_after.as_millis())]
    Busy {
        /// Time after which the request may succeed.
        retry_after: Duration,
    },
    /// 14: nothing was done, and the same request may be repeated safely.
    #[error("unavailable: nothing was stored; try again")]
    Unavailable,
    /// 4: the outcome is unknown; repeat the request with the same client message id.
    #[error("no answer in time; repeat with the same client_message_id")]
    Unknown,
    /// 12: this node does not support the request.
    #[error("{0}")]
    Unsupported(&'static str),
    /// 2: a fault of the server that a repeat does not fix.
    #[error("internal error")]
    Internal,
}

impl RequestRefusal {
    /// Makes a [`BadRequest`](Self::BadRequest) with this text.
    #[must_use]
    pub fn bad(text: impl Into<String>) -> Self {
        Self::BadRequest(text.into())
    }

    /// Returns the time after which the same request may succeed, if waiting can help.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after }
            | Self::Backlog { retry_after }
            | Self::Busy { retry_after } => Some(*retry_after),
            Self::Unavailable => Some(UNAVAILABLE_RETRY_AFTER),
            _ => None,
        }
    }

    /// Returns [`retry_after`](Self::retry_after) in whole milliseconds, at least 1; 0 if waiting
    /// does not help. All wires carry it.
    #[must_use]
    pub fn retry_after_ms(&self) -> i64 {
        self.retry_after().map_or(0, |after| {
            i64::try_from(after.as_millis()).unwrap_or(i64::MAX).max(1)
        })
    }

    /// Returns the code on the wire: 10000 … 10017, or a standard gRPC code.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::Unauthorized(_) => 10000,
            Self::BadRequest(_) => 10001,
            Self::BadCode => 10010,
            Self::NotInGroup(_) => 10011,
            Self::NoSuchGroup(_) => 10013,
            Self::NoSuchDevice(_) => 10014,
            Self::AlreadyFriends(_) => 10015,
            Self::NoSuchUser(_) => 10016,
            Self::Banned => 10017,
            Self::Forbidden(_) | Self::Rejected(_) => 7,
            Self::Conflict => 6,
            Self::RateLimited { .. } | Self::Backlog { .. } | Self::Exhausted(_) => 8,
            Self::Busy { .. } | Self::Unavailable => 14,
            Self::Unknown => 4,
            Self::Unsupported(_) => 12,
            Self::Internal => 2,
        }
    }
}

/// Displays an error with its chain of causes in one line: the first says which operation failed,
/// the last says why.
#[derive(Clone, Copy, Debug)]
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // Some errors already contain their cause's text.
            if !last.contains(&text) {
                write!(f, ": {text}")?;
                last = text;
            }
            next = cause.source();
        }
        Ok(())
    }
}

impl From<StoreError> for RequestRefusal {
    fn from(error: StoreError) -> Self {
        match error.kind {
            StoreErrorKind::Unavailable | StoreErrorKind::Contended => Self::Unavailable,
            StoreErrorKind::Unknown => Self::Unknown,
            StoreErrorKind::Full => {
                Self::Exhausted("the server's storage is full; nothing was stored".into())
            }
            StoreErrorKind::Corrupt | StoreErrorKind::Misuse => {
                crate::error_rated!(error = &error as &dyn std::error::Error, "store fault");
                Self::Internal
            }
        }
    }
}
