//! Cache of the heads as they are in the tree, so that neither a send to a busy inbox nor a page
//! of a long one has to search for the last entry.
//!
//! The cache always agrees with the tree. The writer updates it together with the tree, under the
//! lock that excludes readers. Only the writer, or a reader that holds this lock for reading, adds
//! a head that it found in the tree, so the tree cannot change between the look-up and the
//! insertion.
//!
//! The size is bounded by two generations. A head that is read or set goes to the young one. When
//! that is full it becomes the old one, and the heads that are left in the previous old one are
//! dropped.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gimlet_core::id::UserId;
use gimlet_core::seq::Seq;
use gimlet_core::store::Head;
use gimlet_proto::store::Number;

use crate::error::EngineError;
use crate::key;
use crate::rows::RowView;

/// Inboxes of one generation; both together take some 8 MiB at most.
const GENERATION_INBOXES: usize = 1 << 16;

/// Cache of the heads as they are in the tree.
#[derive(Debug, Default)]
pub(crate) struct HeadCache {
    // A std mutex, held for one look-up; no other lock is taken under it.
    generations: Mutex<CacheGenerations>,
}

#[derive(Debug, Default)]
struct CacheGenerations {
    young: HashMap<UserId, Head>,
    old: HashMap<UserId, Head>,
}

impl HeadCache {
    /// Returns the head of this inbox, if it is cached.
    pub(crate) fn get(&self, user: UserId) -> Option<Head> {
        self.lock().get(user)
    }

    /// Caches the heads of these inboxes.
    pub(crate) fn set(&self, heads: impl IntoIterator<Item = (UserId, Head)>) {
        let mut generations = self.lock();
        for (user, head) in heads {
            generations.set(user, head);
        }
    }

    fn lock(&self) -> MutexGuard<'_, CacheGenerations> {
        // After a panic a head may be missing from the cache, which is harmless: it is read from
        // the tree.
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl CacheGenerations {
    fn get(&mut self, user: UserId) -> Option<Head> {
        if let Some(head) = self.young.get(&user) {
            return Some(*head);
        }
        let head = self.old.remove(&user)?;
        self.set(user, head);
        Some(head)
    }

    fn set(&mut self, user: UserId, head: Head) {
        if self.young.len() >= GENERATION_INBOXES && !self.young.contains_key(&user) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(user, head);
    }
}

/// Returns the head of an inbox.
///
/// The head is not stored: an inbox ends with its last entry, or with its floor if no entry is
/// left. Where readers or the writer must see another head than the tree's (pending changes, or
/// entries that are not durable yet), the overlay holds it, so it is asked first.
///
/// A head that was read from the tree is cached, so the tree must not change in between. Two
/// callers are allowed: the writer, which makes the changes, and a reader inside of
/// [`SharedState::durable`](crate::shared::SharedState::durable), whose lock keeps the writer from
/// applying a batch.
pub(crate) fn head(
    rows: &RowView<'_>,
    heads: &HeadCache,
    user: UserId,
) -> Result<Head, EngineError> {
    if let Some(head) = rows.head(user).or_else(|| heads.get(user)) {
        return Ok(head);
    }
    let last = rows.last_in_tree(&key::entries(user))?;
    let floor: Option<Number> = rows.get(&key::floor(user))?;
    let floor = Seq::new(floor.unwrap_or_default().value);
    let head = Head {
        head: Seq::new(last.unwrap_or(0)).max(floor),
        floor,
    };
    heads.set([(user, head)]);
    Ok(head)
}

#[cfg(test)]
mod tests {
    use gimlet_core::seq::Seq;

    use super::*;

    fn user(n: usize) -> UserId {
        UserId::new(n as u64).unwrap()
    }

    fn head(n: usize) -> Head {
        Head {
            head: Seq::new(n as u64),
            floor: Seq::ZERO,
        }
    }

    #[test]
    fn what_is_used_stays_and_the_rest_is_forgotten() {
        let mut heads = CacheGenerations::default();
        for n in 1..=3 * GENERATION_INBOXES {
            heads.set(user(n), head(n));
            assert_eq!(heads.get(user(1)), Some(head(1)));
            assert!(heads.young.len() + heads.old.len() <= 2 * GENERATION_INBOXES);
        }
        assert_eq!(heads.get(user(2)), None);
    }

    #[test]
    fn the_newest_counts() {
        let mut heads = CacheGenerations::default();
        heads.set(user(1), head(1));
        for n in 2..=GENERATION_INBOXES + 1 {
            heads.set(user(n), head(n));
        }
        heads.set(user(1), head(7));
        assert_eq!(heads.get(user(1)), Some(head(7)));
    }
}
