//! The messages that one room keeps, oldest first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::RoomBounds;
use crate::memory::page_while;
use crate::page::{Page, PageLimit};
use crate::seq::Seq;
use crate::store::RoomItem;

/// Kept messages, each with the monotonic time of its publishing: a wall clock that was wrong for a
/// second would put a message at the front that never gets old, and hold up all behind it.
#[derive(Debug, Default)]
pub(super) struct Kept {
    items: VecDeque<(Duration, Arc<RoomItem>)>,
    bytes: usize,
}

impl Kept {
    /// Their bytes, each counted with its overhead.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the oldest was published.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.items.front().map(|(at, _)| *at)
    }

    /// Keeps a message; the oldest go while there are more than a room may keep.
    pub(super) fn push(&mut self, now: Duration, item: &Arc<RoomItem>, bounds: RoomBounds) {
        self.bytes += item.envelope.weight();
        self.items.push_back((now, Arc::clone(item)));
        while self.items.len() > bounds.messages || self.bytes > bounds.bytes {
            self.drop_oldest();
        }
    }

    /// Drops what was published that long ago.
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
            // A busy hour's capacity goes with its messages.
            *self = Self::default();
        }
    }

    /// A page of those from `from` on.
    pub(super) fn page(&self, from: Seq, limit: PageLimit) -> Page<Arc<RoomItem>> {
        let start = self.items.partition_point(|(_, item)| item.seq < from);
        let items = self.items.range(start..).map(|(_, item)| Arc::clone(item));
        let mut bytes = 0_usize;
        page_while(items, limit.items, |item| {
            let fits = bytes < limit.bytes.max(1);
            bytes = bytes.saturating_add(item.envelope.weight());
            fits
        })
    }
}
