//! Report as one page: no script, no style, no picture from elsewhere.

use std::fmt::Write as _;

use super::RunReport;
use super::plot::{LinePlot, escape};
use super::table::{number, share};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2em auto;\
padding:0 1em;color:#222}table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .9em;\
border-bottom:1px solid #ddd;text-align:left}.n{text-align:right;font-variant-numeric:tabular-nums}\
svg{width:100%;max-width:640px;background:#fafafa;border:1px solid #eee;margin:.4em 0}\
svg text{font-size:11px;fill:#555}svg .t{font-weight:600;fill:#222}svg .r{text-anchor:end}\
svg .m{text-anchor:middle}svg .g{stroke:#e4e4e4}svg polyline{fill:none;stroke-width:1.6}\
.bad{color:#b71c1c;font-weight:600}.good{color:#1b5e20;font-weight:600}code{background:#f2f2f2}";

impl RunReport {
    /// Formats the report as a page.
    #[must_use]
    pub fn html(&self) -> String {
        let title = format!(
            "gimlet-load {} · {} · {}",
            self.scenario, self.store, self.wire
        );
        let mut out = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{0}</title>\
             <style>{STYLE}</style><h1>{0}</h1><p><code>{1}</code></p>\
             <p>{2} · {3} × {4}, {5} MiB, Linux {6} · commit {7}</p>",
            escape(&title),
            escape(&self.command),
            escape(&self.server),
            self.machine.cores,
            escape(&self.machine.cpu),
            number_of(self.machine.memory_mib),
            escape(&self.machine.kernel),
            escape(&self.machine.commit),
        );
        self.verdict(&mut out);
        self.figures_table(&mut out);
        self.times_table(&mut out);
        self.plots(&mut out);
        if !self.limits.is_empty() {
            out.push_str("<h2>Limits of this machine, in this run</h2><table>");
            for limit in &self.limits {
                row(&mut out, &limit.name, limit.value, &limit.unit, "");
            }
            out.push_str("</table>");
        }
        for note in &self.notes {
            let _ = write!(out, "<p>{}</p>", escape(note));
        }
        out.push_str("</html>\n");
        out
    }

    fn verdict(&self, out: &mut String) {
        if self.good() {
            out.push_str(
                "<p class=\"good\">Every answered message was delivered once, in order.</p>",
            );
        }
        for line in self.findings.lines() {
            let _ = write!(out, "<p class=\"bad\">{}</p>", escape(&line));
        }
    }

    fn figures_table(&self, out: &mut String) {
        out.push_str("<h2>Figures</h2><table>");
        for figure in &self.figures {
            let share = share(figure);
            row(out, &figure.name, figure.value, &figure.unit, &share);
        }
        out.push_str("</table>");
    }

    fn times_table(&self, out: &mut String) {
        if self.times.is_empty() {
            return;
        }
        out.push_str("<h2>Times, milliseconds</h2><table><tr><th></th>");
        for head in ["p50", "p90", "p99", "p99.9", "max", "mean", "count"] {
            let _ = write!(out, "<th class=\"n\">{head}</th>");
        }
        out.push_str("</tr>");
        for times in &self.times {
            let s = &times.summary;
            let _ = write!(out, "<tr><td>{}</td>", escape(&times.name));
            for value in [s.p50_ms, s.p90_ms, s.p99_ms, s.p999_ms, s.max_ms, s.mean_ms] {
                let _ = write!(out, "<td class=\"n\">{}</td>", number(value));
            }
            let _ = write!(out, "<td class=\"n\">{}</td></tr>", number_of(s.count));
        }
        out.push_str("</table>");
    }

    fn plots(&self, out: &mut String) {
        let mut plot = |plot: LinePlot<'_>| {
            if plot.lines.iter().any(|line| line.1.len() > 1) {
                let _ = write!(out, "<figure>{}</figure>", plot.svg());
            }
        };
        let curves = self.times.iter();
        plot(LinePlot {
            title: "time not exceeded by",
            x: "percent",
            y: "ms",
            across_logarithmic: false,
            logarithmic: true,
            lines: curves
                .map(|t| (t.name.as_str(), t.summary.curve.clone()))
                .collect(),
        });
        let ticks = |value: fn(&crate::latency::SecondSummary) -> f64| {
            let lines = self.times.iter().map(move |times| {
                let ticks = times.summary.ticks.iter();
                #[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
                let points = ticks.map(|tick| (tick.second as f64, value(tick)));
                (times.name.as_str(), points.collect())
            });
            lines.collect()
        };
        #[expect(clippy::cast_precision_loss, reason = "counts of one second")]
        plot(LinePlot {
            title: "per second",
            x: "second",
            y: "1/s",
            across_logarithmic: false,
            logarithmic: false,
            lines: ticks(|tick| tick.count as f64),
        });
        plot(LinePlot {
            title: "99 of 100 of each second",
            x: "second",
            y: "ms",
            across_logarithmic: false,
            logarithmic: true,
            lines: ticks(|tick| tick.p99_ms),
        });
        for curve in &self.curves {
            plot(LinePlot {
                title: &curve.name,
                x: &curve.x,
                y: &curve.y,
                across_logarithmic: false,
                logarithmic: false,
                lines: vec![(&curve.y, curve.points.clone())],
            });
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown to a person")]
fn number_of(count: u64) -> String {
    number(count as f64)
}

fn row(out: &mut String, name: &str, value: f64, unit: &str, share: &str) {
    let _ = write!(
        out,
        "<tr><td>{}</td><td class=\"n\">{}</td><td>{}</td><td>{}</td></tr>",
        escape(name),
        number(value),
        escape(unit),
        escape(share)
    );
}

#[cfg(test)]
mod tests {
    use crate::latency::LatencyRecorder;
    use crate::measured_limit::MeasuredLimit;
    use crate::report::RunReport;

    #[test]
    fn a_page_needs_nothing_from_elsewhere() {
        let mut latency = LatencyRecorder::new(0);
        for i in 0..4_000_000_000_u64 / 1_000_000 {
            latency.record(i * 1_000_000, i * 1_000_000 + 300_000 + i);
        }
        let mut report = RunReport {
            command: "gimlet-load <direct>".to_owned(),
            ..RunReport::empty("direct")
        };
        let limit = MeasuredLimit::new("echo", 2000.0, "1/s");
        report.share("answered", 1000.0, "1/s", Some(&limit));
        report.times("end to end", latency.summary());
        let page = report.html();
        assert!(page.contains("&lt;direct&gt;") && page.contains("50 % of"));
        assert!(!page.contains("<script") && !page.contains("http"));
        assert!(page.matches("<polyline").count() >= 3);
        assert!(report.table().contains("end to end"));
        let json = serde_json::to_string(&report).unwrap();
        let back: RunReport = serde_json::from_str(&json).unwrap();
        assert_eq!(back.figures, report.figures);
    }
}
