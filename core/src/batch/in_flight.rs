//! The users and groups that the batches in flight touch.
//!
//! Two batches in flight share neither a recipient nor a group. One user's entries are therefore
//! stored, and pushed, in the order in which their batches started, even though the store commits
//! batches in parallel.

use crate::id::{GroupId, UserId};
use crate::map::FastHashMap;
use crate::store::AppendRequest;

/// Number of a batch of this writer.
pub(super) type BatchId = u64;

/// Users and groups of the batches in flight, each with its batch.
#[derive(Debug, Default)]
pub(super) struct InFlightBatches {
    users: FastHashMap<UserId, BatchId>,
    groups: FastHashMap<GroupId, BatchId>,
    last: BatchId,
}

impl InFlightBatches {
    /// Registers a batch that starts.
    pub(super) fn register(&mut self, batch: &[AppendRequest]) -> BatchId {
        self.last += 1;
        for send in batch {
            for user in send.recipients.iter() {
                self.users.insert(*user, self.last);
            }
            if let Some(group) = send.group() {
                self.groups.insert(group, self.last);
            }
        }
        self.last
    }

    /// Removes a batch that has ended.
    pub(super) fn release(&mut self, batch: &[AppendRequest]) {
        for send in batch {
            for user in send.recipients.iter() {
                self.users.remove(user);
            }
            if let Some(group) = send.group() {
                self.groups.remove(&group);
            }
        }
    }

    /// Returns the batch in flight that this send has to wait for.
    pub(super) fn blocker(&self, send: &AppendRequest) -> Option<BatchId> {
        // The group first: it is one look-up and the most frequent reason.
        if let Some(batch) = send.group().and_then(|group| self.groups.get(&group)) {
            return Some(*batch);
        }
        if self.users.is_empty() {
            return None;
        }
        let mut users = send.recipients.iter();
        users.find_map(|user| self.users.get(user)).copied()
    }
}
