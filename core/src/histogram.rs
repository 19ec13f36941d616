//! Histograms for the metrics: counts of values by fixed upper bounds, which only grow.

use std::sync::atomic::{AtomicU64, Ordering};

/// A histogram that many threads record into. A value costs a short search and two additions.
#[derive(Debug)]
pub(crate) struct AtomicHistogram {
    bounds: &'static [u64],
    /// Values by the first bound that is not below them; the last count is of those above all.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// Counts of a histogram as of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramCounts {
    /// Upper bounds of the buckets, in ascending order.
    pub bounds: &'static [u64],
    /// Values in each bucket, without those of the buckets below. There is one more bucket than
    /// bounds: the last one has the values above all of them.
    pub counts: Vec<u64>,
    /// Sum of the values.
    pub sum: u64,
}

impl AtomicHistogram {
    /// Makes a histogram with these upper bounds, which ascend.
    pub(crate) fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Records a value.
    pub(crate) fn record(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
            self.sum.fetch_add(value, Ordering::Relaxed);
        }
    }

    /// Returns the counts. A value that is recorded meanwhile may be in its bucket and not yet in
    /// the sum.
    pub(crate) fn counts(&self) -> HistogramCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        HistogramCounts {
            bounds: self.bounds,
            counts: self.counts.iter().map(read).collect(),
            sum: read(&self.sum),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_bucket_of_the_first_bound_that_is_not_below_it() {
        let histogram = AtomicHistogram::new(&[1, 10, 100]);
        for value in [0, 1, 2, 10, 11, 100, 101, 5_000] {
            histogram.record(value);
        }
        let counts = histogram.counts();
        assert_eq!(counts.counts, [2, 2, 2, 2]);
        assert_eq!(counts.sum, 5_225);
    }
}
