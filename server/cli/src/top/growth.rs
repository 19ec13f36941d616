//! Growth of counters and histograms between two readings of a node's metrics.
//!
//! A counter begins again at zero when its process does. A value below the one before it therefore
//! counts from zero, as in Prometheus, so that no rate is negative.

use std::collections::BTreeMap;

use super::exposition::{LabelSet, MetricFamily, MetricSet};

/// Growth of metrics between two readings.
#[derive(Clone, Copy, Debug)]
pub(super) struct MetricGrowth<'a> {
    before: &'a MetricSet,
    now: &'a MetricSet,
    seconds: f64,
}

impl<'a> MetricGrowth<'a> {
    /// Compares two readings with this time between them; `None` if there was none.
    pub(super) fn new(before: &'a MetricSet, now: &'a MetricSet, seconds: f64) -> Option<Self> {
        (seconds > 0.0).then_some(Self {
            before,
            now,
            seconds,
        })
    }

    /// Returns the growth per second of a counter, over all its series; `None` if it is missing.
    pub(super) fn rate(&self, name: &str) -> Option<f64> {
        let increases = increases(self.before.family(name), self.now.family(name)?);
        Some(increases.values().sum::<f64>() / self.seconds)
    }

    /// Returns the growth per second of a counter for each value of a label.
    pub(super) fn rates_by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut rates = BTreeMap::new();
        let Some(now) = self.now.family(name) else {
            return rates;
        };
        for (labels, increase) in increases(self.before.family(name), now) {
            if let Some(key) = labels.get(label) {
                *rates.entry(key.to_owned()).or_default() += increase / self.seconds;
            }
        }
        rates
    }

    /// Returns the values that a histogram got, over all its series; `None` if it is missing.
    pub(super) fn histogram(&self, name: &str) -> Option<BucketCounts> {
        let now = BucketCounts::of(self.now, name)?;
        Some(match BucketCounts::of(self.before, name) {
            Some(before) => now.since(&before),
            None => now,
        })
    }
}

/// Returns the increase of each series.
fn increases(before: Option<&MetricFamily>, now: &MetricFamily) -> MetricFamily {
    let increase = |labels: &LabelSet, value: f64| {
        let before = before.and_then(|family| family.get(labels));
        let before = before.copied().filter(|before| *before <= value);
        // A series that did not exist before has grown from zero.
        value - before.unwrap_or_default()
    };
    let each = now.iter();
    each.map(|(labels, value)| (labels.clone(), increase(labels, *value)))
        .collect()
}

/// Counts of a histogram: the values at or below each upper bound.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BucketCounts {
    /// Upper bounds in ascending order, with their counts.
    buckets: Vec<(f64, f64)>,
    sum: f64,
}

impl BucketCounts {
    /// Reads a histogram, over all its series; `None` if it is missing.
    fn of(set: &MetricSet, name: &str) -> Option<Self> {
        let by_bound = set.sums_by(&format!("{name}_bucket"), "le");
        let buckets = by_bound.into_iter();
        let buckets = buckets.filter_map(|(bound, count)| Some((bound.parse().ok()?, count)));
        let mut buckets: Vec<(f64, f64)> = buckets.collect();
        buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let sum = set.sum(&format!("{name}_sum")).unwrap_or_default();
        (!buckets.is_empty()).then_some(Self { buckets, sum })
    }

    /// Returns the number of all values.
    pub(super) fn count(&self) -> f64 {
        self.buckets.last().map_or(0.0, |(_, count)| *count)
    }

    /// Returns the mean of all values; `None` if there are none.
    pub(super) fn mean(&self) -> Option<f64> {
        (self.count() > 0.0).then(|| self.sum / self.count())
    }

    /// Returns the values since an earlier reading.
    fn since(&self, before: &Self) -> Self {
        if before.count() > self.count() {
            // The process has begun again. Single buckets cannot tell: some may have more values
            // than before nevertheless.
            return self.clone();
        }
        let count_before = |bound: f64| {
            let mut buckets = before.buckets.iter();
            let same = buckets.find(|(it, _)| it.total_cmp(&bound).is_eq());
            same.map_or(0.0, |(_, count)| *count)
        };
        let buckets = self.buckets.iter();
        let buckets =
            buckets.map(|(bound, count)| (*bound, (count - count_before(*bound)).max(0.0)));
        Self {
            buckets: buckets.collect(),
            sum: (self.sum - before.sum).max(0.0),
        }
    }

    /// Estimates the value that this share of all values does not exceed, from 0 to 1; `None` if
    /// there are no values. Within a bucket, values are taken as evenly spread; above the largest
    /// bound, that bound is the estimate.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = self.count() * share;
        if self.count() <= 0.0 {
            return None;
        }
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in &self.buckets {
            if *count >= wanted {
                if bound.is_infinite() {
                    break;
                }
                let inside = count - below;
                let part = if inside > 0.0 {
                    (wanted - below) / inside
                } else {
                    1.0
                };
                return Some(lower + (bound - lower) * part);
            }
            (lower, below) = (*bound, *count);
        }
        Some(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(text: &str) -> MetricSet {
        MetricSet::parse(text).unwrap()
    }

    /// Returns a histogram with these counts up to 1, up to 2 and up to 4, and of all values.
    fn histogram(counts: [u32; 4], sum: u32) -> MetricSet {
        let [one, two, four, all] = counts;
        metrics(&format!(
            "t_bucket{{le=\"1\"}} {one}\nt_bucket{{le=\"2\"}} {two}\nt_bucket{{le=\"4\"}} {four}\n\
             t_bucket{{le=\"+Inf\"}} {all}\nt_sum {sum}\nt_count {all}\n"
        ))
    }

    fn grown(before: &MetricSet, now: &MetricSet) -> BucketCounts {
        let growth = MetricGrowth::new(before, now, 1.0).unwrap();
        growth.histogram("t").unwrap()
    }

    #[test]
    fn rates_are_per_second_and_over_all_series() {
        let before = metrics("a{code=\"1\",m=\"x\"} 10\na{code=\"1\",m=\"y\"} 1\n");
        let now =
            metrics("a{code=\"1\",m=\"x\"} 14\na{code=\"1\",m=\"y\"} 2\na{code=\"2\",m=\"x\"} 3\n");
        let growth = MetricGrowth::new(&before, &now, 2.0).unwrap();
        assert_eq!(growth.rate("a"), Some(4.0));
        let by_code = growth.rates_by("a", "code");
        assert_eq!((by_code["1"], by_code["2"]), (2.5, 1.5));
        assert!(MetricGrowth::new(&before, &now, 0.0).is_none());
    }

    #[test]
    fn a_counter_that_began_again_counts_from_zero() {
        let (before, now) = (
            metrics("a{x=\"1\"} 100\na{x=\"2\"} 5"),
            metrics("a{x=\"1\"} 7\na{x=\"2\"} 6"),
        );
        let growth = MetricGrowth::new(&before, &now, 1.0).unwrap();
        assert_eq!(growth.rate("a"), Some(8.0));
    }

    #[test]
    fn what_is_missing_has_no_rate() {
        let (none, some) = (MetricSet::default(), metrics("a 3"));
        let gone = MetricGrowth::new(&some, &none, 1.0).unwrap();
        assert_eq!(gone.rate("a"), None);
        assert!(gone.rates_by("a", "x").is_empty());
        assert_eq!(gone.histogram("a"), None);
        let new = MetricGrowth::new(&none, &some, 1.0).unwrap();
        assert_eq!(new.rate("a"), Some(3.0), "it has grown from zero");
    }

    #[test]
    fn quantiles_are_of_the_values_between_two_readings() {
        let before = histogram([100, 100, 100, 100], 50);
        // 4 values up to 1, 4 from 1 to 2, and 2 from 2 to 4.
        let counts = grown(&before, &histogram([104, 108, 110, 110], 65));
        assert_eq!((counts.count(), counts.mean()), (10.0, Some(1.5)));
        assert_eq!(counts.quantile(0.5), Some(1.25));
        assert_eq!(counts.quantile(0.9), Some(3.0));
        assert_eq!(counts.quantile(1.0), Some(4.0));
        assert_eq!(counts.quantile(0.2), Some(0.5));
        assert_eq!(counts.quantile(0.0), Some(0.0));
    }

    #[test]
    fn a_histogram_without_new_values_has_no_quantiles() {
        let same = histogram([1, 2, 3, 4], 9);
        let counts = grown(&same, &same);
        assert_eq!((counts.quantile(0.5), counts.mean()), (None, None));
    }

    #[test]
    fn above_the_largest_bound_that_bound_is_the_estimate() {
        let counts = grown(&histogram([0, 0, 0, 0], 0), &histogram([0, 0, 1, 10], 99));
        assert_eq!(counts.quantile(0.99), Some(4.0));
        let only = metrics("t_bucket{le=\"+Inf\"} 3\nt_sum 1\nt_count 3");
        assert_eq!(grown(&MetricSet::default(), &only).quantile(0.5), Some(0.0));
    }

    #[test]
    fn a_histogram_that_began_again_counts_from_zero_as_a_whole() {
        // Fewer values than before, and yet more of them in the first bucket.
        let counts = grown(
            &histogram([1, 50, 90, 100], 300),
            &histogram([8, 8, 8, 8], 4),
        );
        assert_eq!((counts.count(), counts.mean()), (8.0, Some(0.5)));
        assert_eq!(counts.quantile(0.5), Some(0.5));
    }

    #[test]
    fn buckets_of_several_series_are_one_histogram() {
        let now = metrics(
            "t_bucket{m=\"a\",le=\"1\"} 1\nt_bucket{m=\"a\",le=\"+Inf\"} 1\n\
             t_bucket{m=\"b\",le=\"1\"} 2\nt_bucket{m=\"b\",le=\"+Inf\"} 3\nt_sum{m=\"a\"} 1\nt_sum{m=\"b\"} 2\n",
        );
        let counts = grown(&MetricSet::default(), &now);
        assert_eq!((counts.count(), counts.mean()), (4.0, Some(0.75)));
    }
}
