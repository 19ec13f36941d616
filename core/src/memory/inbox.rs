//! Inboxes: a ring of shared messages each. The position in the ring determines the seq.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;

use crate::id::{GroupId, UserId};
use crate::memory::InboxRetention;
use crate::memory::state::MemoryEngine;
use crate::message::{InboxEntry, Message};
use crate::page::PageLimit;
use crate::seq::Seq;
use crate::store::{
    AppendOutcome, AppendRequest, Head, InboxSlice, InboxStore, JobLease, JobStepOutcome,
    StoreError,
};

/// Bytes added for each entry to those of its content and mentions.
const MEMORY_ENTRY_OVERHEAD_BYTES: usize = 128;

/// Maximum number of entries removed under one hold of the lock.
const TRIM_SLICE_ENTRIES: u64 = 1_000;

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

    /// Removes up to `max` entries up to and including `upto`; returns whether none of these is
    /// left.
    fn trim(&mut self, upto: Seq, max: u64) -> bool {
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

    fn after(&self, seq: Seq, limit: PageLimit) -> InboxSlice {
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

#[async_trait]
impl InboxStore for MemoryEngine {
    async fn append(&self, batch: &[AppendRequest]) -> Result<Vec<AppendOutcome>, StoreError> {
        AppendRequest::check("inbox.append", batch)?;
        let now = self.clock.monotonic();
        Ok(self.lock().append(batch, now))
    }

    async fn after(
        &self,
        user: UserId,
        seq: Seq,
        limit: PageLimit,
    ) -> Result<InboxSlice, StoreError> {
        let state = self.lock();
        let slice = state.inboxes.get(&user).map(|it| it.after(seq, limit));
        Ok(slice.unwrap_or_default())
    }

    async fn trim(&self, user: UserId, upto: Seq) -> Result<(), StoreError> {
        loop {
            let done = match self.lock().inboxes.get_mut(&user) {
                Some(inbox) => inbox.trim(upto, TRIM_SLICE_ENTRIES),
                None => true,
            };
            if done {
                return Ok(());
            }
            // The lock is released between slices, so that senders are not blocked.
            tokio::task::yield_now().await;
        }
    }

    async fn claim_job(&self, group: Option<GroupId>) -> Result<Option<JobLease>, StoreError> {
        Ok(self.lock().jobs.claim(group))
    }

    async fn advance_job(&self, lease: &JobLease) -> Result<JobStepOutcome, StoreError> {
        Ok(self.lock().advance(lease))
    }

    async fn sweep(&self, max: usize) -> Result<usize, StoreError> {
        // Bodies are shared and go with their last entry, so only keys must be removed.
        let now = self.clock.monotonic();
        Ok(self.lock().keys.sweep(max, now))
    }
}
