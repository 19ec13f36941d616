//! Histograms that are kept elsewhere, in Prometheus' text format. The recorder has histograms of
//! its own, and takes no counts that were made by others.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use gimlet_core::histogram::HistogramCounts;

/// The newest text of each histogram, by its name.
#[derive(Clone, Debug, Default)]
pub(crate) struct HistogramTexts(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl HistogramTexts {
    /// Replaces the text of a histogram. A value of the counts is divided by `divisor`, which
    /// changes its unit.
    pub(crate) fn set(
        &self,
        name: &'static str,
        about: &str,
        counts: &HistogramCounts,
        divisor: f64,
    ) {
        let text = text(name, about, counts, divisor);
        let mut texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        texts.insert(name, text);
    }

    /// Appends all texts.
    pub(crate) fn append_to(&self, out: &mut String) {
        let texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        texts.values().for_each(|text| out.push_str(text));
    }
}

fn text(name: &str, about: &str, counts: &HistogramCounts, divisor: f64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "metrics are floats by nature")]
    let shown = |value: u64| value as f64 / divisor;
    let mut text = format!("# HELP {name} {about}\n# TYPE {name} histogram\n");
    let mut total = 0;
    let bounds = counts.bounds.iter().map(|bound| shown(*bound).to_string());
    let bounds = bounds.chain(std::iter::once("+Inf".to_owned()));
    for (bound, count) in bounds.zip(&counts.counts) {
        // Each bucket of the format has the values of the buckets below, too.
        total += count;
        let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {total}");
    }
    let _ = writeln!(text, "{name}_sum {}", shown(counts.sum));
    let _ = writeln!(text, "{name}_count {total}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up_and_the_unit_is_changed() {
        let counts = HistogramCounts {
            bounds: &[100, 2_500_000],
            counts: vec![2, 0, 1],
            sum: 3_000_050,
        };
        let texts = HistogramTexts::default();
        texts.set("a_seconds", "Times", &counts, 1_000_000.0);
        let mut out = "before\n".to_owned();
        texts.append_to(&mut out);
        let want = "before\n# HELP a_seconds Times\n# TYPE a_seconds histogram\n\
                    a_seconds_bucket{le=\"0.0001\"} 2\na_seconds_bucket{le=\"2.5\"} 2\n\
                    a_seconds_bucket{le=\"+Inf\"} 3\na_seconds_sum 3.00005\na_seconds_count 3\n\n";
        assert_eq!(out, want);
    }
}
