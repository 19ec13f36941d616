//! Measured rates: the median of several passes, and their spread.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Result of a probe. Its errors are only shown to a person.
pub type ProbeOutcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Result of a probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasuredLimit {
    /// Name of the probe, for example `echo 100x16`.
    pub name: String,
    /// Unit, for example `messages/s`.
    pub unit: String,
    /// Median of the passes.
    pub value: f64,
    /// Lowest pass.
    pub low: f64,
    /// Highest pass.
    pub high: f64,
    /// CPU time of the probed side per unit, in microseconds, if it is a process of its own.
    pub cpu_us: Option<f64>,
    /// Short description of the probe.
    pub what: String,
}

impl MeasuredLimit {
    /// Creates a limit from a single number.
    #[must_use]
    pub fn new(name: &str, value: f64, unit: &str) -> Self {
        Self {
            name: name.to_owned(),
            unit: unit.to_owned(),
            value,
            low: value,
            high: value,
            cpu_us: None,
            what: String::new(),
        }
    }

    /// Computes the limit that these passes show.
    #[must_use]
    pub fn of(name: impl Into<String>, unit: &str, passes: &[ProbePass], what: &str) -> Self {
        let mut rates: Vec<f64> = passes.iter().map(ProbePass::rate).collect();
        rates.sort_by(f64::total_cmp);
        let mut cpus: Vec<f64> = passes.iter().filter_map(ProbePass::cpu_us).collect();
        cpus.sort_by(f64::total_cmp);
        Self {
            name: name.into(),
            unit: unit.to_owned(),
            value: middle(&rates).unwrap_or_default(),
            low: rates.first().copied().unwrap_or_default(),
            high: rates.last().copied().unwrap_or_default(),
            cpu_us: middle(&cpus),
            what: what.to_owned(),
        }
    }

    /// Returns a rate in percent of this limit.
    #[must_use]
    pub fn share(&self, rate: f64) -> f64 {
        if self.value > 0.0 {
            100.0 * rate / self.value
        } else {
            0.0
        }
    }
}

impl fmt::Display for MeasuredLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rate, low, high) = (short(self.value), short(self.low), short(self.high));
        write!(
            f,
            "{:<34} {rate:>9} ({low}–{high}) {}",
            self.name, self.unit
        )?;
        if let Some(cpu) = self.cpu_us {
            write!(f, ", {cpu:.2} µs of its CPU each")?;
        }
        write!(f, "  [{}]", self.what)
    }
}

/// One pass of a probe.
#[derive(Clone, Copy, Debug)]
pub struct ProbePass {
    /// Operations done.
    pub count: u64,
    /// Duration of the pass.
    pub span: Duration,
    /// CPU time of the probed side.
    pub cpu: Option<Duration>,
}

impl ProbePass {
    /// Returns the operations per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        as_f64(self.count) / self.span.as_secs_f64().max(1e-9)
    }

    fn cpu_us(&self) -> Option<f64> {
        let cpu = self.cpu?.as_secs_f64() * 1e6;
        (self.count > 0).then(|| cpu / as_f64(self.count))
    }
}

/// Converts a count for a division; counts of a run are far below 2^52.
#[must_use]
pub(super) const fn as_f64(count: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of a run are far below 2^52"
    )]
    {
        count as f64
    }
}

/// Formats a number for people: `58.6k`, `1.38M`.
#[must_use]
pub fn short(value: f64) -> String {
    if value >= 1e6 {
        format!("{:.2}M", value / 1e6)
    } else if value >= 1e4 {
        format!("{:.1}k", value / 1e3)
    } else if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

fn middle(sorted: &[f64]) -> Option<f64> {
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample_pass(count: u64) -> ProbePass {
        ProbePass {
            count,
            span: Duration::from_secs(2),
            cpu: Some(Duration::from_millis(count)),
        }
    }

    #[test]
    fn the_median_pass_counts_and_the_range_is_shown() {
        let limit = MeasuredLimit::of(
            "x",
            "acks/s",
            &[sample_pass(40), sample_pass(10), sample_pass(20)],
            "",
        );
        assert_eq!(
            limit.to_string(),
            "x                                       10.0 (5.0–20.0) acks/s, \
             1000.00 µs of its CPU each  []"
        );
        assert_eq!(short(limit.share(5.0)), "50.0");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(short(58_600.0), "58.6k");
        assert_eq!(short(1_380_000.0), "1.38M");
        assert_eq!(short(5_493.2), "5493");
        assert_eq!(short(5.25), "5.2");
    }
}
