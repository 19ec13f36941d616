//! Prometheus' text format, in which the ops listener of a node has its metrics.

use std::collections::BTreeMap;

/// Labels of a series, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LabelSet(Vec<(String, String)>);

impl LabelSet {
    /// Returns the value of a label.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(label, _)| label == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Series of one metric, by their labels.
pub(super) type MetricFamily = BTreeMap<LabelSet, f64>;

/// Metrics of a node as of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct MetricSet(BTreeMap<String, MetricFamily>);

/// Error of a text that is not in the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not a metric in Prometheus' text format")]
pub(super) struct ExpositionError {
    line: usize,
}

impl MetricSet {
    /// Reads the text of `/metrics`.
    ///
    /// # Errors
    /// A line is neither empty, nor a comment, nor a metric.
    pub(super) fn parse(text: &str) -> Result<Self, ExpositionError> {
        let mut set = Self::default();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, labels, value) =
                parse_series(line).ok_or(ExpositionError { line: at + 1 })?;
            let family = set.0.entry(name.to_owned()).or_default();
            family.insert(labels, value);
        }
        Ok(set)
    }

    /// Returns the series of a metric; `None` if there are none.
    pub(super) fn family(&self, name: &str) -> Option<&MetricFamily> {
        self.0.get(name)
    }

    /// Returns the sum over the series of a metric; `None` if there are none.
    pub(super) fn sum(&self, name: &str) -> Option<f64> {
        Some(self.family(name)?.values().sum())
    }

    /// Returns the sums over the series of a metric for each value of a label; series without the
    /// label are left out.
    pub(super) fn sums_by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for (labels, value) in self.family(name).into_iter().flatten() {
            if let Some(key) = labels.get(label) {
                *sums.entry(key.to_owned()).or_default() += value;
            }
        }
        sums
    }
}

/// Reads `name{label="value"} number`, optionally with a time after it.
fn parse_series(line: &str) -> Option<(&str, LabelSet, f64)> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => parse_labels(rest)?,
        None => (LabelSet::default(), rest),
    };
    let mut words = rest.split_whitespace();
    let value = words.next()?.parse().ok()?;
    let time = words.next().map(str::parse::<i64>);
    let is_complete = words.next().is_none() && time.is_none_or(|time| time.is_ok());
    is_complete.then_some((name, labels, value))
}

/// Reads labels up to the closing brace; returns the text after it, too.
fn parse_labels(text: &str) -> Option<(LabelSet, &str)> {
    let mut labels = Vec::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            labels.sort();
            return Some((LabelSet(labels), after));
        }
        let (name, after) = rest.split_once('=')?;
        let quoted = after.trim_start().strip_prefix('"')?;
        let (value, after) = parse_quoted(quoted)?;
        labels.push((name.trim().to_owned(), value));
        let after = after.trim_start();
        // A comma may stand behind the last label, too.
        rest = match after.strip_prefix(',') {
            Some(next) => next.trim_start(),
            None if after.starts_with('}') => after,
            None => return None,
        };
    }
}

/// Reads a value up to the closing quote; returns the text after it, too.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_have_names_labels_and_values() {
        let text = "# HELP a_total Text\n# TYPE a_total counter\n\
                    a_total{code=\"14\", method=\"Send\"} 3\na_total{method=\"Send\",code=\"4\",} 2 1700000000000\n\
                    \n  b 1.5e3 \nc{} +Inf\nd{x=\"a\\\"b\\\\c\\nd}\"} -7\n";
        let set = MetricSet::parse(text).unwrap();
        assert_eq!(set.sum("a_total"), Some(5.0));
        let by_code = set.sums_by("a_total", "code");
        assert_eq!((by_code["14"], by_code["4"]), (3.0, 2.0));
        let by_method = set.sums_by("a_total", "method");
        assert_eq!(by_method.get("Send"), Some(&5.0));
        assert!(set.sums_by("a_total", "other").is_empty());
        assert_eq!(set.sum("b"), Some(1_500.0));
        assert_eq!(set.sum("c"), Some(f64::INFINITY));
        let (labels, value) = set.family("d").unwrap().iter().next().unwrap();
        assert_eq!((labels.get("x"), *value), (Some("a\"b\\c\nd}"), -7.0));
        assert_eq!(set.sum("e"), None, "a family that is missing has no sum");
        assert_eq!(MetricSet::parse(""), Ok(MetricSet::default()));
    }

    #[test]
    fn the_order_of_labels_does_not_matter() {
        let one = MetricSet::parse("a{x=\"1\",y=\"2\"} 3").unwrap();
        let other = MetricSet::parse("a{y=\"2\",x=\"1\"} 3").unwrap();
        assert_eq!(one, other);
    }

    #[test]
    fn a_line_that_is_not_a_metric_is_named() {
        for line in [
            "a",
            "a b",
            "a 1 2 3",
            "a 1 x",
            "{x=\"1\"} 1",
            "a{x=1} 1",
            "a{x=\"1} 1",
            "a{x=\"1\" y=\"2\"} 1",
            "a{x} 1",
            "a{x=\"1\"}",
            "a{x=\"1\\",
            "ä 1",
            "<html>",
        ] {
            let error = MetricSet::parse(&format!("ok 1\n{line}\n")).unwrap_err();
            let want = "line 2 is not a metric in Prometheus' text format";
            assert_eq!(error.to_string(), want, "{line}");
        }
    }
}
