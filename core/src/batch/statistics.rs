//! Statistics of batches at the store, for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::histogram::{AtomicHistogram, HistogramCounts};

/// Upper bounds of the number of sends in a batch.
const SENDS_BOUNDS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];
/// Upper bounds of the time of a batch, in microseconds.
const MICROS_BOUNDS: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000,
];

/// Statistics of batches at the store.
#[derive(Debug)]
pub(super) struct BatchStatistics {
    sends: AtomicHistogram,
    micros: AtomicHistogram,
    failures: AtomicU64,
}

/// Counts of batches at the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchCounts {
    /// Sends in a batch that the store has accepted.
    pub sends: HistogramCounts,
    /// Time from the start of such a batch to the answer of the store, in microseconds.
    pub micros: HistogramCounts,
    /// Batches that the store did not accept, or whose outcome is not known. A batch that met a
    /// lock is not among them, because its sends are tried again.
    pub failures: u64,
}

impl Default for BatchStatistics {
    fn default() -> Self {
        Self {
            sends: AtomicHistogram::new(SENDS_BOUNDS),
            micros: AtomicHistogram::new(MICROS_BOUNDS),
            failures: AtomicU64::new(0),
        }
    }
}

impl BatchStatistics {
    /// Records a batch of this many sends that the store has accepted.
    pub(super) fn record(&self, sends: usize, took: Duration) {
        self.sends.record(u64::try_from(sends).unwrap_or(u64::MAX));
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.record(micros);
    }

    /// Records a batch that failed.
    pub(super) fn record_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the counts.
    pub(super) fn counts(&self) -> BatchCounts {
        BatchCounts {
            sends: self.sends.counts(),
            micros: self.micros.counts(),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }
}
