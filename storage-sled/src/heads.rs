//! What is remembered of where inboxes stand in the tree, so that neither a send to a busy inbox nor
//! a page of a long one looks for its end.
//!
//! It says what the tree says: the writer sets it where it changes the tree, under the lock that
//! keeps readers out; whoever else notes what the tree has does so under a lock that keeps the tree
//! as it is, or is the writer.
//!
//! Bounded: two generations of one size. What is asked for or set goes to the younger one; when
//! that is full it becomes the older one, and what was not asked for meanwhile is forgotten.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gimlet_core::id::UserId;
use gimlet_core::store::Head;

/// Inboxes of one generation; both together take some 8 MiB at most.
const GENERATION: usize = 1 << 16;

/// Where inboxes stand in the tree.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    // A std mutex, held for a look-up; nothing else is locked under it.
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<UserId, Head>,
    old: HashMap<UserId, Head>,
}

impl Heads {
    /// Where this inbox stands, if that is remembered.
    pub(crate) fn get(&self, user: UserId) -> Option<Head> {
        self.lock().get(user)
    }

    /// Notes where these inboxes stand.
    pub(crate) fn set(&self, heads: impl IntoIterator<Item = (UserId, Head)>) {
        let mut generations = self.lock();
        for (user, head) in heads {
            generations.set(user, head);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        // A panic leaves a head unnoted, which is nothing wrong: it is read from the tree.
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn get(&mut self, user: UserId) -> Option<Head> {
        if let Some(head) = self.young.get(&user) {
            return Some(*head);
        }
        let head = self.old.remove(&user)?;
        self.set(user, head);
        Some(head)
    }

    fn set(&mut self, user: UserId, head: Head) {
        if self.young.len() >= GENERATION && !self.young.contains_key(&user) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(user, head);
    }
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
        let mut heads = Generations::default();
        for n in 1..=3 * GENERATION {
            heads.set(user(n), head(n));
            assert_eq!(heads.get(user(1)), Some(head(1)));
            assert!(heads.young.len() + heads.old.len() <= 2 * GENERATION);
        }
        assert_eq!(heads.get(user(2)), None);
    }

    #[test]
    fn the_newest_counts() {
        let mut heads = Generations::default();
        heads.set(user(1), head(1));
        for n in 2..=GENERATION + 1 {
            heads.set(user(n), head(n));
        }
        heads.set(user(1), head(7));
        assert_eq!(heads.get(user(1)), Some(head(7)));
    }
}
