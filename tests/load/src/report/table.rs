//! Report as text.

use std::fmt::Write as _;

use super::{ReportFigure, RunReport};

/// Formats a number for people: few digits, thousands apart.
pub(crate) fn number(value: f64) -> String {
    let text = match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 100.0 => format!("{value:.1}"),
        v if v >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    };
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let digits = whole.trim_start_matches('-');
    let mut out = whole
        .get(..whole.len() - digits.len())
        .unwrap_or("")
        .to_owned();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if !part.is_empty() {
        out.push('.');
        out.push_str(part);
    }
    out
}

/// Describes a figure's share of its limit.
pub(super) fn share(figure: &ReportFigure) -> String {
    figure.limit.as_ref().map_or_else(String::new, |limit| {
        let percent = 100.0 * figure.value / limit.value.max(f64::MIN_POSITIVE);
        format!(
            "{percent:.0} % of {} {} ({})",
            number(limit.value),
            limit.unit,
            limit.name
        )
    })
}

impl RunReport {
    /// Formats the report as text.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = format!(
            "\n{} · {} · {} · {}\n",
            self.scenario, self.store, self.wire, self.server
        );
        let wide = self.figures.iter().map(|f| f.name.chars().count());
        let wide = wide.max().unwrap_or(0);
        for figure in &self.figures {
            let name = &figure.name;
            let (value, unit) = (number(figure.value), &figure.unit);
            let share = share(figure);
            let _ = writeln!(
                out,
                "{}",
                format!("  {name:wide$}  {value:>12} {unit:<12} {share}").trim_end()
            );
        }
        if !self.times.is_empty() {
            let wide = self.times.iter().map(|t| t.name.chars().count());
            let wide = wide.max().unwrap_or(0).max(12);
            let _ = writeln!(
                out,
                "  {:wide$}  {:>9} {:>9} {:>9} {:>9} {:>9} {:>10}",
                "milliseconds", "p50", "p90", "p99", "p99.9", "max", "count"
            );
            for times in &self.times {
                let s = &times.summary;
                let _ = writeln!(
                    out,
                    "  {:wide$}  {:>9.3} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {:>10}",
                    times.name, s.p50_ms, s.p90_ms, s.p99_ms, s.p999_ms, s.max_ms, s.count
                );
            }
        }
        for limit in &self.limits {
            let value = number(limit.value);
            let _ = writeln!(out, "  limit: {value} {} ({})", limit.unit, limit.name);
        }
        for note in &self.notes {
            let _ = writeln!(out, "  note: {note}");
        }
        if self.good() {
            out.push_str("  judge: every answered message was delivered once, in order\n");
        } else {
            for line in self.findings.lines() {
                let _ = writeln!(out, "  judge: FAILED: {line}");
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(number(1_234_567.8), "1,234,568");
        assert_eq!(number(-1234.0), "-1,234");
        assert_eq!(number(123.45), "123.5");
        assert_eq!(number(0.1234), "0.123");
    }
}
