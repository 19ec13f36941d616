//! Counts how often connections fell behind their pushes and how often they caught up.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one hub.
#[derive(Debug, Default)]
pub(crate) struct LagCounter {
    began: AtomicU64,
    ended: AtomicU64,
}

impl LagCounter {
    /// Counts the change of one connection from not lagging to lagging, or back.
    pub(super) fn count_change(&self, before: bool, after: bool) {
        match (before, after) {
            (false, true) => self.began.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.ended.fetch_add(1, Ordering::Relaxed),
            _ => return,
        };
    }

    /// Returns how often a connection began to lag, and how often one caught up or was removed.
    pub(super) fn counts(&self) -> (u64, u64) {
        // `ended` is read first: a lag that has ended has begun, so `began` is never below it.
        let ended = self.ended.load(Ordering::Relaxed);
        (self.began.load(Ordering::Relaxed).max(ended), ended)
    }
}
