//! How often connections fell behind their pushes, and how often they were up with them again.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counted for a whole hub.
#[derive(Debug, Default)]
pub(crate) struct Lags {
    began: AtomicU64,
    ended: AtomicU64,
}

impl Lags {
    /// A connection was behind before a change, or not, and is after it.
    pub(super) fn turn(&self, before: bool, after: bool) {
        match (before, after) {
            (false, true) => self.began.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.ended.fetch_add(1, Ordering::Relaxed),
            _ => return,
        };
    }

    /// How often one began to lag, and how often one had caught up or was gone.
    pub(super) fn counts(&self) -> (u64, u64) {
        // In this order: what has ended has begun.
        let ended = self.ended.load(Ordering::Relaxed);
        (self.began.load(Ordering::Relaxed).max(ended), ended)
    }
}
