//! Counts of the notifications of one push service.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of one push service since the start of this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushCounts {
    /// Notifications that the service accepted.
    pub sent: u64,
    /// Addresses that were removed because the service does not know them any more.
    pub removed: u64,
    /// Notifications that the service refused for good.
    pub rejected: u64,
    /// Attempts that failed and are repeated.
    pub failed: u64,
    /// Notifications that were too old when they could be sent.
    pub expired: u64,
}

/// The counters of one push service.
#[derive(Debug, Default)]
pub struct PushCounters {
    sent: AtomicU64,
    removed: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    expired: AtomicU64,
}

impl PushCounters {
    /// Returns the counts.
    #[must_use]
    pub fn read(&self) -> PushCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PushCounts {
            sent: read(&self.sent),
            removed: read(&self.removed),
            rejected: read(&self.rejected),
            failed: read(&self.failed),
            expired: read(&self.expired),
        }
    }

    /// Counts a notification that the service accepted.
    pub(crate) fn count_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an address that was removed.
    pub(crate) fn count_removed(&self) {
        self.removed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a notification that the service refused for good.
    pub(crate) fn count_rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an attempt that failed and is repeated.
    pub(crate) fn count_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a notification that was too old when it could be sent.
    pub(crate) fn count_expired(&self) {
        self.expired.fetch_add(1, Ordering::Relaxed);
    }
}
