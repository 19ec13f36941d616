//! Lines in a box, as SVG.

use std::fmt::Write as _;

use super::table::number;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 36.0;
const TOP: f64 = 24.0;
const COLOURS: [&str; 5] = ["#1565c0", "#c62828", "#2e7d32", "#6a1b9a", "#ef6c00"];

/// A plot: titled, with named axes and named lines.
#[derive(Debug)]
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    /// Whether y rises tenfold per step.
    pub(super) logarithmic: bool,
    pub(super) lines: Vec<(&'a str, Vec<(f64, f64)>)>,
}

/// Text as HTML shows it.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64>, logarithmic: bool, from_zero: bool) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|v| v.is_finite() && (!logarithmic || *v > 0.0)) {
            (low, high) = (low.min(value), high.max(value));
        }
        if !low.is_finite() {
            (low, high) = (0.1, 1.0);
        }
        if logarithmic {
            low = 10_f64.powf(low.log10().floor());
            high = 10_f64.powf(high.log10().ceil());
        } else if from_zero {
            low = low.min(0.0);
        }
        if high <= low {
            high = low + low.abs().max(1.0);
        }
        Self {
            low,
            high,
            logarithmic,
        }
    }

    fn part(&self, value: f64) -> f64 {
        let part = if self.logarithmic {
            (value.max(self.low).log10() - self.low.log10())
                / (self.high.log10() - self.low.log10())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        part.clamp(0.0, 1.0)
    }

    fn marks(&self) -> Vec<f64> {
        if self.logarithmic {
            let mut marks = vec![self.low];
            while let Some(last) = marks
                .last()
                .copied()
                .filter(|&last| last < self.high * 0.99)
            {
                marks.push(last * 10.0);
            }
            return marks;
        }
        (0..=4)
            .map(|n| self.low + (self.high - self.low) * f64::from(n) / 4.0)
            .collect()
    }
}

impl Plot<'_> {
    /// The drawing.
    pub(super) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.1);
        let across = Scale::of(points().map(|p| p.0), false, false);
        let up = Scale::of(points().map(|p| p.1), self.logarithmic, true);
        let x = |v: f64| LEFT + across.part(v) * (WIDTH - LEFT - 16.0);
        let y = |v: f64| HEIGHT - BOTTOM - up.part(v) * (HEIGHT - BOTTOM - TOP);
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\"><title>{}</title>\
             <text x=\"{LEFT}\" y=\"14\" class=\"t\">{}</text>",
            escape(self.title),
            escape(self.title)
        );
        for mark in up.marks() {
            let at = y(mark);
            let _ = write!(
                out,
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" class=\"g\"/>\
                 <text x=\"{}\" y=\"{:.1}\" class=\"r\">{}</text>",
                WIDTH - 16.0,
                LEFT - 6.0,
                at + 4.0,
                number(mark)
            );
        }
        for mark in across.marks() {
            let _ = write!(
                out,
                "<text x=\"{:.1}\" y=\"{}\" class=\"m\">{}</text>",
                x(mark),
                HEIGHT - 20.0,
                number(mark)
            );
        }
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{}\" class=\"m\">{}</text><text x=\"6\" y=\"14\">{}</text>",
            f64::midpoint(LEFT, WIDTH),
            HEIGHT - 4.0,
            escape(self.x),
            escape(self.y)
        );
        for ((name, line), (n, colour)) in self.lines.iter().zip((0_u8..).zip(COLOURS)) {
            let path: Vec<String> = line
                .iter()
                .map(|p| format!("{:.1},{:.1}", x(p.0), y(p.1)))
                .collect();
            let _ = write!(
                out,
                "<polyline points=\"{}\" stroke=\"{colour}\"/>\
                 <text x=\"{}\" y=\"{}\" fill=\"{colour}\" class=\"r\">{}</text>",
                path.join(" "),
                WIDTH - 16.0,
                14 + 14 * u32::from(n),
                escape(name)
            );
        }
        out.push_str("</svg>");
        out
    }
}
