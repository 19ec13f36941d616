//! Counts of files, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCounts {
    /// Files that were stored.
    pub stored: u64,
    /// Their bytes.
    pub stored_bytes: u64,
    /// Uploads that were refused or given up.
    pub refused: u64,
    /// Files that were removed after their time.
    pub removed: u64,
    /// Files that the scanner found clean.
    pub clean: u64,
    /// Files that the scanner rejected.
    pub rejected: u64,
    /// Files about which the scanner gave no verdict.
    pub unscanned: u64,
}

/// The counters behind [`FileCounts`].
#[derive(Debug, Default)]
pub(crate) struct FileCounters {
    pub(crate) stored: AtomicU64,
    pub(crate) stored_bytes: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) removed: AtomicU64,
    pub(crate) clean: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) unscanned: AtomicU64,
}

impl FileCounters {
    /// Adds to a counter.
    pub(crate) fn add(counter: &AtomicU64, number: u64) {
        counter.fetch_add(number, Ordering::Relaxed);
    }

    /// Returns the counts.
    pub(crate) fn read(&self) -> FileCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FileCounts {
            stored: read(&self.stored),
            stored_bytes: read(&self.stored_bytes),
            refused: read(&self.refused),
            removed: read(&self.removed),
            clean: read(&self.clean),
            rejected: read(&self.rejected),
            unscanned: read(&self.unscanned),
        }
    }
}
