//! Inboxes: a ring of shared messages each. The position in the ring determines the seq.

use async_trait::async_trait;

use crate::id::{GroupId, UserId};
use crate::memory::state::MemoryEngine;
use crate::page::PageLimit;
use crate::seq::Seq;
use crate::store::{
    AppendOutcome, AppendRequest, InboxSlice, InboxStore, JobLease, JobStepOutcome, StoreError,
    StoreErrorKind,
};

/// Maximum number of entries removed under one hold of the lock.
const TRIM_SLICE_ENTRIES: u64 = 1_000;

#[async_trait]
impl InboxStore for MemoryEngine {
    async fn append(&self, batch: &[AppendRequest]) -> Result<Vec<AppendOutcome>, StoreError> {
        AppendRequest::check("inbox.append", batch)?;
        let now = self.append_time();
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

    async fn begin(&self, inboxes: &[(UserId, Seq)]) -> Result<(), StoreError> {
        let mut state = self.lock();
        let may_begin = |(user, at): &(UserId, Seq)| {
            let head = state.head(*user);
            head.head == head.floor && head.head <= *at
        };
        if !inboxes.iter().all(may_begin) {
            let text = "an inbox that begins has entries, or ends later";
            return Err(StoreError::with(
                "inbox.begin",
                StoreErrorKind::Misuse,
                text,
            ));
        }
        for (user, at) in inboxes {
            state.inboxes.entry(*user).or_default().begin(*at);
        }
        Ok(())
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
