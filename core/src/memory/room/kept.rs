//! The messages that one room keeps, oldest first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::memory::helpers::page_while;
use crate::page::{ListPage, PageLimit};
use crate::seq::Seq;
use crate::store::RoomItem;

/// Limits of the rooms; above any of them the oldest messages are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomBounds {
    /// Kept messages of a room; default 1,000.
    pub messages: usize,
    /// Their bytes, each counted with its overhead; default 4 MiB.
    pub bytes: usize,
    /// Time for which messages are kept, and for which an unused room keeps its numbering; default
    /// 2 minutes.
    pub age: Duration,
    /// Bytes over all rooms; default 64 MiB.
    pub total_bytes: usize,
}

impl Default for RoomBounds {
    fn default() -> Self {
        Self {
            messages: 1_000,
            bytes: 4 << 20,
            age: Duration::from_mins(2),
            total_bytes: 64 << 20,
        }
    }
}

/// Kept messages, each with the monotonic time of its publication. With a wall clock, one wrong
/// time would put a message at the front that never expires, and nothing behind it would be
/// dropped.
#[derive(Debug, Default)]
pub(super) struct KeptMessages {
    items: VecDeque<(Duration, Arc<RoomItem>)>,
    bytes: usize,
}

impl KeptMessages {
    /// Returns the bytes of the messages, each counted with its overhead.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the publication time of the oldest message.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.items.front().map(|(at, _)| *at)
    }

    /// Keeps a message, and drops the oldest ones above the room's limits.
    pub(super) fn push(&mut self, now: Duration, item: &Arc<RoomItem>, bounds: RoomBounds) {
        self.bytes += item.envelope.weight();
        self.items.push_back((now, Arc::clone(item)));
        while self.items.len() > bounds.messages || self.bytes > bounds.bytes {
            self.drop_oldest();
        }
    }

    /// Drops the messages that were published at least `age` ago.
    pub(super) fn drop_old(&mut self, now: Duration, age: Duration) {
        while self.oldest().is_some_and(|at| at + age <= now) {
            self.drop_oldest();
        }
    }

    /// Drops the oldest message.
    pub(super) fn drop_oldest(&mut self) {
        let Some((_, item)) = self.items.pop_front() else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(item.envelope.weight());
        if self.items.is_empty() {
            // Releases the capacity of a busy hour with its messages.
            *self = Self::default();
        }
    }

    /// Returns a page of the messages from `from` on.
    pub(super) fn page(&self, from: Seq, limit: PageLimit) -> ListPage<Arc<RoomItem>> {
        let start = self.items.partition_point(|(_, item)| item.seq < from);
        let items = self.items.range(start..).map(|(_, item)| Arc::clone(item));
        let mut bytes = 0_usize;
        page_while(items, limit.items, |item| {
            let fits = bytes <= limit.bytes;
            bytes = bytes.saturating_add(item.envelope.weight());
            fits
        })
    }
}
