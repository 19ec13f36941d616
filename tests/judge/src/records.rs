//! Records of a run with contents of its own: sends, the entries of inboxes, and what live clients
//! were shown.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::{ReceiverId, StreamId};

/// A send: its stream and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendId {
    /// Stream of the send.
    pub stream: StreamId,
    /// Number of the send in its stream.
    pub number: u32,
}

/// An entry as it was read from an inbox.
#[derive(Clone, Copy, Debug)]
pub struct InboxRecord<'a> {
    /// Position in the inbox.
    pub seq: i64,
    /// Id of the message.
    pub message_id: &'a [u8],
    /// Content of the message.
    pub content: &'a [u8],
    /// Device that sent it, or 0.
    pub device: i64,
}

/// The entries of an inbox, as far as it was read.
#[derive(Debug, Default)]
pub(crate) struct InboxHistory {
    /// Seq above which the inbox is read.
    pub(crate) base: i64,
    /// Entries in the order of their seqs.
    pub(crate) entries: Vec<ReadEntry>,
    /// Seq of each message.
    pub(crate) seqs: HashMap<Vec<u8>, i64>,
}

/// An entry that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadEntry {
    pub(crate) seq: i64,
    /// Digest of the content.
    pub(crate) digest: u64,
    /// Device that sent the entry.
    pub(crate) device: i64,
}

impl InboxHistory {
    /// Returns the last seq that was read.
    pub(crate) fn last(&self) -> i64 {
        self.entries.last().map_or(self.base, |entry| entry.seq)
    }

    /// Returns the entry with this seq.
    pub(crate) fn entry(&self, seq: i64) -> Option<&ReadEntry> {
        let at = self.entries.binary_search_by_key(&seq, |entry| entry.seq);
        at.ok().and_then(|at| self.entries.get(at))
    }

    /// Returns the entries between two seqs, both excluded.
    pub(crate) fn between(&self, after: i64, before: i64) -> impl Iterator<Item = &ReadEntry> {
        let from = self.entries.partition_point(|entry| entry.seq <= after);
        let rest = self.entries.iter().skip(from);
        rest.take_while(move |entry| entry.seq < before)
    }
}

/// Number of a watched client within its judge.
pub type WatchId = usize;

/// A live client and the entries that it was shown, over one connection or several.
#[derive(Debug)]
pub(crate) struct WatchedClient {
    pub(crate) user: i64,
    pub(crate) inbox: ReceiverId,
    pub(crate) device: i64,
    /// Seq above which entries were to be shown.
    pub(crate) from: i64,
    /// Seqs and digests of contents, in order of arrival.
    pub(crate) entries: Vec<(i64, Option<u64>)>,
    /// Set for a client that must have been shown everything at the end.
    pub(crate) lasting: bool,
}

impl WatchedClient {
    /// Counts the entries of other devices between two seqs, both excluded. A device's own sends are
    /// not pushed to it.
    pub(crate) fn not_shown(&self, inbox: &InboxHistory, after: i64, before: i64) -> u64 {
        let others = inbox.between(after, before);
        others.filter(|entry| entry.device != self.device).count() as u64
    }
}

/// Returns the number by which the judge recognises a content.
pub(crate) fn digest(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}
