//! Which users and groups the batches in flight touch.
//!
//! Two batches in flight share neither a recipient nor a group. So one user's entries are stored, and
//! pushed, in the order in which the batches were started, whatever the store does side by side.

use crate::id::{GroupId, UserId};
use crate::map::Map;
use crate::store::Append;

/// Numbers the batches of a writer.
pub(super) type BatchId = u64;

/// Users and groups of the batches in flight.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    users: Map<UserId, BatchId>,
    groups: Map<GroupId, BatchId>,
    last: BatchId,
}

impl InFlight {
    /// Notes a batch that is started.
    pub(super) fn hold(&mut self, batch: &[Append]) -> BatchId {
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

    /// Forgets a batch that has ended.
    pub(super) fn release(&mut self, batch: &[Append]) {
        for send in batch {
            for user in send.recipients.iter() {
                self.users.remove(user);
            }
            if let Some(group) = send.group() {
                self.groups.remove(&group);
            }
        }
    }

    /// A batch in flight that this send has to wait for.
    pub(super) fn blocker(&self, send: &Append) -> Option<BatchId> {
        // The group first: it is one look, and most often the reason.
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
