//! The entries of one inbox, and their limits.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::id::UserId;
use crate::message::{InboxEntry, Message};
use crate::page::PageLimit;
use crate::seq::Seq;
use crate::store::{Head, InboxSlice};

/// Limits of an inbox in memory; above them the oldest entries are removed and the floor rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboxRetention {
    /// Entries of one user; default 10,000.
    pub entries: usize,
    /// Bytes of one user's entries, each counted with its overhead; default 16 MiB. The newest
    /// entry is kept even if it is larger.
    pub bytes: usize,
}

impl Default for InboxRetention {
    fn default() -> Self {
        Self {
            entries: 10_000,
            bytes: 16 << 20,
        }
    }
}

/// Bytes added for each entry to those of its content and mentions.
const MEMORY_ENTRY_OVERHEAD_BYTES: usize = 128;

/// One user's inbox. The entry at index `i` has the seq `floor + 1 + i`, so an inbox cannot have a
/// gap (law 3).
#[derive(Debug, Default)]
pub(super) struct Inbox {
    floor: Seq,
    entries: VecDeque<Arc<Message>>,
    bytes: usize,
}

impl Inbox {
    pub(super) fn head(&self) -> Head {
        Head {
            head: self.floor.plus(self.entries.len() as u64),
            floor: self.floor,
        }
    }

    /// Appends an entry, removes the oldest ones above the limits, and returns the seq of the new
    /// one.
    pub(super) fn push(&mut self, message: &Arc<Message>, keep: InboxRetention) -> Seq {
        self.bytes += weight(message);
        self.entries.push_back(Arc::clone(message));
        while self.entries.len() > 1
            && (self.entries.len() > keep.entries || self.bytes > keep.bytes)
        {
            self.pop();
        }
        self.head().head
    }

    /// Begins the inbox, which has no entries, after this seq.
    pub(super) const fn begin(&mut self, at: Seq) {
        self.floor = at;
    }

    /// Removes up to `max` entries up to and including `upto`; returns whether none of these is
    /// left.
    pub(super) fn trim(&mut self, upto: Seq, max: u64) -> bool {
        for _ in 0..max {
            if self.floor >= upto || !self.pop() {
                return true;
            }
        }
        self.floor >= upto
    }

    fn pop(&mut self) -> bool {
        let Some(oldest) = self.entries.pop_front() else {
            return false;
        };
        self.bytes = self.bytes.saturating_sub(weight(&oldest));
        self.floor = self.floor.next();
        true
    }

    pub(super) fn after(&self, seq: Seq, limit: PageLimit) -> InboxSlice {
        let start = seq.max(self.floor);
        let skip = usize::try_from(start.get() - self.floor.get()).unwrap_or(usize::MAX);
        let mut rest = self.entries.iter().skip(skip).peekable();
        let mut items = Vec::with_capacity(rest.len().min(limit.items));
        let (mut seq, mut bytes) = (start, 0);
        while items.is_empty() || (items.len() < limit.items && bytes <= limit.bytes) {
            let Some(message) = rest.next() else { break };
            seq = seq.next();
            bytes += message.content.len();
            items.push(InboxEntry {
                seq,
                message: Arc::clone(message),
            });
        }
        InboxSlice {
            items,
            more: rest.peek().is_some(),
            head: self.head(),
        }
    }
}

fn weight(message: &Message) -> usize {
    MEMORY_ENTRY_OVERHEAD_BYTES
        + message.content.len()
        + message.mentions.len() * size_of::<UserId>()
        + message.unknown.as_bytes().len()
}
