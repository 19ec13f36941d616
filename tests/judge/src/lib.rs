//! The judge of histories: checks that every answered message was delivered once, in order, to the
//! right receivers, and to no others.
//!
//! Serves the load tool, the fault suite and the programs that kill servers; independent of sockets,
//! of the wire protocol and of storages.
//!
//! A *stream* is the sequence of sends of one sender, numbered from 0. A *receiver* is a connection
//! that gets pushes, or an inbox that is read. The judge keeps one counter per receiver and stream
//! and, beyond that, the numbers that are missing at the moment. It recognises a message in one of
//! two ways:
//!
//! - by the [`MessageMark`] in its content, for runs with millions of messages
//!   ([`DeliveryJudge::observe_push`]); all messages of a stream have the same receivers.
//! - by its whole content, for runs that choose their own contents (`history`); every send has
//!   receivers of its own. These runs read inboxes ([`DeliveryJudge::read`]) and watch live clients
//!   ([`DeliveryJudge::watch`]), whose entries are compared with the inbox.

mod audience;
mod content;
mod findings;
mod history;
mod judge;
mod records;
#[cfg(test)]
mod tests;
mod watch;

pub use content::{MARK, MessageMark};
pub use findings::{FindingKind, JudgeFindings};
pub use judge::{DeliveryJudge, ObservedPush, PushedMessage, SendFailure, StreamDestination};
pub use records::{InboxRecord, SendId, WatchId};

/// Number of a stream within its judge.
pub type StreamId = u32;

/// Number of a receiver within its judge.
pub type ReceiverId = u32;
