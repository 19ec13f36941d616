//! Latencies: a histogram for the whole run, and a line per second for the plots.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::clock::SECOND;

/// Longest time that the histogram distinguishes: a minute.
const LONGEST: u64 = 60 * SECOND;

/// One second of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SecondSummary {
    /// Seconds since the measured part began.
    pub second: u64,
    /// Operations that ended in this second.
    pub count: u64,
    /// Median of their times, milliseconds.
    pub p50_ms: f64,
    /// 99th percentile of their times, milliseconds.
    pub p99_ms: f64,
}

/// The figures of a histogram, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// Number of recorded times.
    pub count: u64,
    /// Median.
    pub p50_ms: f64,
    /// 90th percentile.
    pub p90_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// 99.9th percentile.
    pub p999_ms: f64,
    /// Maximum.
    pub max_ms: f64,
    /// Mean.
    pub mean_ms: f64,
    /// Pairs of (percentile, milliseconds), for the plot.
    pub curve: Vec<(f64, f64)>,
    /// Figures second by second.
    pub ticks: Vec<SecondSummary>,
}

/// Recorder for times of one kind.
#[derive(Debug)]
pub struct LatencyRecorder {
    all: Histogram<u64>,
    second: Histogram<u64>,
    current: u64,
    ticks: Vec<SecondSummary>,
    begin: u64,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, LONGEST, 3).expect("the bounds are in order")
}

#[expect(clippy::cast_precision_loss, reason = "times far below 2^53 ns")]
fn ms(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

impl LatencyRecorder {
    /// Creates an empty recorder; seconds are counted from `begin`.
    #[must_use]
    pub fn new(begin: u64) -> Self {
        Self {
            all: histogram(),
            second: histogram(),
            current: 0,
            ticks: Vec::new(),
            begin,
        }
    }

    /// Adds the times of another recorder that ran in parallel; the seconds stay those of this one.
    pub fn merge(&mut self, other: Self) {
        self.all += other.all;
    }

    /// Records an operation that was due at `from` and ended at `now`.
    pub fn record(&mut self, from: u64, now: u64) {
        let second = now.saturating_sub(self.begin) / SECOND;
        if second != self.current {
            self.tick();
            self.current = second;
        }
        let nanos = now.saturating_sub(from);
        self.all.saturating_record(nanos);
        self.second.saturating_record(nanos);
    }

    fn tick(&mut self) {
        if !self.second.is_empty() {
            self.ticks.push(SecondSummary {
                second: self.current,
                count: self.second.len(),
                p50_ms: ms(self.second.value_at_quantile(0.5)),
                p99_ms: ms(self.second.value_at_quantile(0.99)),
            });
            self.second.reset();
        }
    }

    /// Returns the number of recorded times.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.all.len()
    }

    /// Computes the figures.
    #[must_use]
    pub fn summary(mut self) -> LatencySummary {
        self.tick();
        let at = |quantile| ms(self.all.value_at_quantile(quantile));
        let curve = [
            0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 1.0,
        ];
        LatencySummary {
            count: self.all.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: ms(self.all.max()),
            mean_ms: self.all.mean() / 1e6,
            curve: curve.iter().map(|&q| (q * 100.0, at(q))).collect(),
            ticks: self.ticks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_quantiles_are_reported() {
        let mut latency = LatencyRecorder::new(0);
        for i in 1..=100_u64 {
            latency.record(SECOND, SECOND + i * 1_000_000);
        }
        latency.record(0, 3 * SECOND);
        let summary = latency.summary();
        assert_eq!(summary.count, 101);
        assert!((summary.p50_ms - 51.0).abs() < 0.1, "{summary:?}");
        assert!((summary.max_ms - 3000.0).abs() < 2.0, "{summary:?}");
        let seconds: Vec<_> = summary.ticks.iter().map(|t| (t.second, t.count)).collect();
        assert_eq!(seconds, [(1, 100), (3, 1)]);
    }
}
