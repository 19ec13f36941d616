//! Line plots as SVG.

use std::fmt::Write as _;

use super::scale::AxisScale;
use super::table::number;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 70.0;
/// Space for the names of the lines.
const RIGHT: f64 = 190.0;
const BOTTOM: f64 = 36.0;
const TOP: f64 = 24.0;
const COLOURS: [&str; 7] = [
    "#1565c0", "#c62828", "#2e7d32", "#6a1b9a", "#ef6c00", "#00838f", "#4e342e",
];

/// Plot with a title, named axes and named lines.
#[derive(Debug)]
pub(crate) struct LinePlot<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    /// True if x is logarithmic; the points are then marked, and named below.
    pub(crate) across_logarithmic: bool,
    /// True if y is logarithmic.
    pub(crate) logarithmic: bool,
    pub(crate) lines: Vec<(&'a str, Vec<(f64, f64)>)>,
}

/// Style of a drawing that stands alone.
const STYLE: &str = "svg{font-family:system-ui,sans-serif}text{font-size:11px;fill:#555}.t{font-weight:600;\
     fill:#222}.r{text-anchor:end}.m{text-anchor:middle}.g{stroke:#e4e4e4}polyline{fill:none;\
     stroke-width:1.6}.h{font-size:15px}";

/// Draws plots below each other, as a file of its own.
pub(crate) fn picture(title: &str, notes: &[String], plots: &[LinePlot<'_>]) -> String {
    let (mut body, mut down) = (String::new(), 40.0);
    for note in notes {
        let _ = write!(body, "<text x=\"16\" y=\"{down}\">{}</text>", escape(note));
        down += 15.0;
    }
    for plot in plots {
        let inner = plot.svg();
        let inner = inner.trim_start_matches("<svg");
        let _ = write!(
            body,
            "<svg x=\"0\" y=\"{down}\" width=\"{WIDTH}\" height=\"{HEIGHT}\"{inner}"
        );
        down += HEIGHT + 8.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {down}\" \
         width=\"{WIDTH}\" height=\"{down}\"><style>{STYLE}</style>\
         <rect width=\"{WIDTH}\" height=\"{down}\" fill=\"#fff\"/>\
         <text x=\"16\" y=\"22\" class=\"t h\">{}</text>{body}</svg>\n",
        escape(title)
    )
}

/// Escapes text for HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Returns the x values of the points, each once.
fn x_positions<'a>(points: impl Iterator<Item = &'a (f64, f64)>) -> Vec<f64> {
    let mut places: Vec<f64> = points.map(|point| point.0).collect();
    places.sort_by(f64::total_cmp);
    places.dedup_by(|a, b| (*a - *b).abs() < 1e-9);
    places
}

impl LinePlot<'_> {
    /// Draws the plot.
    pub(super) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.1);
        let across = AxisScale::of(points().map(|p| p.0), self.across_logarithmic, false);
        let up = AxisScale::of(points().map(|p| p.1), self.logarithmic, true);
        let end = WIDTH - RIGHT;
        let x = |v: f64| LEFT + across.position(v) * (end - LEFT);
        let y = |v: f64| HEIGHT - BOTTOM - up.position(v) * (HEIGHT - BOTTOM - TOP);
        let title = format!("{}, {}", self.title, self.y);
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\"><title>{0}</title>\
             <text x=\"{LEFT}\" y=\"14\" class=\"t\">{0}</text>",
            escape(&title),
        );
        for mark in up.marks() {
            let at = y(mark);
            let _ = write!(
                out,
                "<line x1=\"{LEFT}\" x2=\"{end}\" y1=\"{at:.1}\" y2=\"{at:.1}\" class=\"g\"/>\
                 <text x=\"{}\" y=\"{:.1}\" class=\"r\">{}</text>",
                LEFT - 6.0,
                at + 4.0,
                tick(mark, self.logarithmic)
            );
        }
        let marks = if self.across_logarithmic {
            x_positions(points())
        } else {
            across.marks()
        };
        for mark in marks {
            let _ = write!(
                out,
                "<text x=\"{:.1}\" y=\"{}\" class=\"m\">{}</text>",
                x(mark),
                HEIGHT - 20.0,
                tick(mark, self.across_logarithmic)
            );
        }
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{}\" class=\"m\">{}</text>",
            f64::midpoint(LEFT, end),
            HEIGHT - 4.0,
            escape(self.x),
        );
        for ((name, line), (n, colour)) in self.lines.iter().zip((0_u8..).zip(COLOURS)) {
            let places: Vec<(f64, f64)> = line.iter().map(|p| (x(p.0), y(p.1))).collect();
            for (x, y) in places.iter().filter(|_| self.across_logarithmic) {
                let _ = write!(
                    out,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{colour}\"/>"
                );
            }
            let path: Vec<String> = places
                .iter()
                .map(|(x, y)| format!("{x:.1},{y:.1}"))
                .collect();
            let _ = write!(
                out,
                "<polyline points=\"{}\" stroke=\"{colour}\"/>\
                 <text x=\"{}\" y=\"{}\" style=\"fill:{colour}\">{}</text>",
                path.join(" "),
                end + 10.0,
                30 + 15 * u32::from(n),
                escape(name)
            );
        }
        out.push_str("</svg>");
        out
    }
}

/// Formats a value beside an axis.
fn tick(value: f64, logarithmic: bool) -> String {
    let (value, unit) = match value {
        v if logarithmic && v >= 1e6 => (v / 1e6, "M"),
        v if logarithmic && v >= 1e4 => (v / 1e3, "k"),
        v => (v, ""),
    };
    let text = number(value);
    let text = match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.'),
        None => &text,
    };
    format!("{text}{unit}")
}
