//! Data of a curve: as a table for the terminal, as JSON, and as a picture.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::report::plot::{LinePlot, picture};
use crate::report::{MachineInfo, number};
use crate::{LoadError, clock};

/// Measured quantity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurveColumn {
    /// Name of the quantity.
    pub name: String,
    /// Unit of the quantity.
    pub unit: String,
    /// Plot in which it is drawn.
    pub plot: String,
}

impl CurveColumn {
    /// Creates a quantity. Quantities with the same plot name share that plot.
    pub(super) fn new(name: &str, unit: &str, plot: &str) -> Self {
        Self {
            name: name.to_owned(),
            unit: unit.to_owned(),
            plot: plot.to_owned(),
        }
    }
}

/// Point of a curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Series that the point belongs to.
    pub series: String,
    /// Position on the x axis.
    pub x: f64,
    /// Command that made the point.
    pub command: String,
    /// Measured values, by column; `None` where a column does not apply.
    pub values: Vec<Option<f64>>,
}

/// All data of a curve. Every message of every point was checked; a loss would have ended the
/// curve.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CurveData {
    /// Title of the curve.
    pub title: String,
    /// Quantity on the x axis.
    pub x: String,
    /// Command line of the curve.
    pub command: String,
    /// Time of the end, milliseconds since 1970 UTC.
    pub ended_ms: i64,
    /// Machine of the run, and its commit.
    pub machine: MachineInfo,
    /// Measured quantities.
    pub columns: Vec<CurveColumn>,
    /// The points.
    pub points: Vec<CurvePoint>,
}

impl CurveData {
    pub(super) fn new(title: &str, x: &str, columns: Vec<CurveColumn>) -> Self {
        Self {
            title: title.to_owned(),
            x: x.to_owned(),
            command: crate::report::command(),
            ended_ms: clock::today(),
            machine: MachineInfo::here(),
            columns,
            points: Vec::new(),
        }
    }

    /// Adds a point and prints it.
    pub(super) fn add(&mut self, point: CurvePoint) {
        if self.points.is_empty() {
            println!("{}", self.head());
        }
        println!("{}", self.line(&point));
        self.points.push(point);
        self.ended_ms = clock::today();
    }

    fn head(&self) -> String {
        let mut out = format!("{:<18} {:>10}", self.title, self.x);
        for column in &self.columns {
            let _ = write!(out, "  {} ({})", column.name, column.unit);
        }
        out
    }

    fn line(&self, point: &CurvePoint) -> String {
        let mut out = format!("{:<18} {:>10}", point.series, number(point.x));
        for (column, value) in self.columns.iter().zip(&point.values) {
            let wide = column.name.chars().count() + column.unit.chars().count() + 3;
            let value = value.map_or_else(|| "-".to_owned(), number);
            let _ = write!(out, "  {value:>wide$}");
        }
        out
    }

    fn series(&self) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for point in &self.points {
            if !all.contains(&&*point.series) {
                all.push(&point.series);
            }
        }
        all
    }

    /// Returns the points of one series for one column.
    fn curve(&self, series: &str, column: usize) -> Vec<(f64, f64)> {
        let points = self.points.iter().filter(|it| it.series == series);
        let points = points.filter_map(|it| Some((it.x, (*it.values.get(column)?)?)));
        points.collect()
    }

    /// Draws the picture.
    pub(super) fn svg(&self) -> String {
        let mut titles: Vec<&str> = Vec::new();
        for column in &self.columns {
            if !titles.contains(&&*column.plot) {
                titles.push(&column.plot);
            }
        }
        let named: Vec<_> = titles
            .iter()
            .map(|title| (*title, self.named(title)))
            .collect();
        let plots: Vec<LinePlot<'_>> = named
            .iter()
            .filter(|(_, lines)| !lines.is_empty())
            .map(|(title, lines)| {
                let unit = self.columns.iter().find(|it| it.plot == *title);
                LinePlot {
                    title,
                    x: &self.x,
                    y: unit.map_or("", |it| &it.unit),
                    across_logarithmic: true,
                    logarithmic: true,
                    lines: lines
                        .iter()
                        .map(|(name, it)| (&**name, it.clone()))
                        .collect(),
                }
            })
            .collect();
        let machine = &self.machine;
        let notes = [
            self.command.clone(),
            format!(
                "{} × {}, {} MiB, Linux {}, commit {}; load and server on the same machine",
                machine.cores, machine.cpu, machine.memory_mib, machine.kernel, machine.commit
            ),
            "Every message of every point was delivered once, in order.".to_owned(),
        ];
        picture(&self.title, &notes, &plots)
    }

    /// Returns the lines of one plot, with their names.
    fn named(&self, plot: &str) -> Vec<(String, Vec<(f64, f64)>)> {
        let mut lines = Vec::new();
        for (at, column) in self
            .columns
            .iter()
            .enumerate()
            .filter(|it| it.1.plot == plot)
        {
            for series in self.series() {
                let curve = self.curve(series, at);
                if !curve.is_empty() {
                    lines.push((format!("{series}: {}", column.name), curve));
                }
            }
        }
        lines
    }

    /// Writes the data and the picture.
    pub(super) fn write(&self, folder: &Path, name: &str) -> Result<(), LoadError> {
        fs::create_dir_all(folder)?;
        let json = serde_json::to_string_pretty(self);
        let json = json.map_err(|error| LoadError::new("JSON", error))?;
        for (ending, text) in [("json", json + "\n"), ("svg", self.svg())] {
            let path = folder.join(format!("{name}.{ending}"));
            let written = fs::write(&path, text);
            written.map_err(|error| LoadError::new(path.display().to_string(), error))?;
            println!("{}", path.display());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_stands_alone_and_shows_every_line() {
        let columns = vec![
            CurveColumn::new("sends", "1/s", "rate"),
            CurveColumn::new("pages", "1/s", "rate"),
            CurveColumn::new("memory", "MiB", "memory"),
        ];
        let mut data = CurveData::new("<inbox>", "entries", columns);
        for (series, x) in [("memory", 1e5), ("memory", 1e6), ("sled", 1e5)] {
            data.add(CurvePoint {
                series: series.to_owned(),
                x,
                command: "sync".to_owned(),
                values: vec![Some(10.0 * x), None, Some(2.0)],
            });
        }
        let svg = data.svg();
        assert!(svg.starts_with("<svg xmlns=") && svg.contains("&lt;inbox&gt;"));
        // Two lines of sends, none of pages, two of memory.
        assert_eq!(svg.matches("<polyline").count(), 4);
        assert_eq!(svg.matches("<circle").count(), 6);
        let folder = tempfile::tempdir().unwrap();
        data.write(folder.path(), "inbox").unwrap();
        let json = fs::read_to_string(folder.path().join("inbox.json")).unwrap();
        let back: CurveData = serde_json::from_str(&json).unwrap();
        assert_eq!(back.points, data.points);
    }
}
