//! Samples of the server's memory and disk over the time of a run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock;
use crate::report::{ReportCurve, RunReport};
use crate::target::UsageSample;

/// One sample of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerSample {
    /// Resource usage.
    pub(crate) usage: UsageSample,
    /// Bytes of the data folder.
    pub(crate) disk: u64,
}

/// Takes samples of the server regularly, on a thread of its own, until [`Self::end`].
#[derive(Debug)]
pub(crate) struct ServerSampler {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<ServerSample>>,
}

impl ServerSampler {
    /// Starts the thread; it takes a sample at once, and then one in each interval.
    pub(crate) fn start(
        usage: impl Fn() -> UsageSample + Send + 'static,
        data: Option<PathBuf>,
        every: Duration,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut samples = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let disk = data.as_deref().map_or(0, size_of_folder);
                samples.push(ServerSample {
                    usage: usage(),
                    disk,
                });
                std::thread::park_timeout(every);
            }
            samples
        });
        Self { stop, thread }
    }

    /// Stops the thread; returns its samples.
    pub(crate) fn end(self) -> Vec<ServerSample> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_default()
    }
}

/// Returns the bytes of all files below a folder.
pub(crate) fn size_of_folder(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(it) if it.is_dir() => size_of_folder(&entry.path()),
        Ok(it) => it.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// Adds the curves to the report, and the slope of each in the second half of the run.
#[expect(clippy::cast_precision_loss, reason = "bytes and times of a run")]
pub(super) fn tell_memory(report: &mut RunReport, samples: &[ServerSample]) {
    let Some(first) = samples.first().map(|it| it.usage.at) else {
        return;
    };
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let hours = |at: u64| clock::seconds(at - first) / 3_600.0;
    let curve = |of: &dyn Fn(&ServerSample) -> f64| -> Vec<(f64, f64)> {
        samples
            .iter()
            .map(|it| (hours(it.usage.at), of(it)))
            .collect()
    };
    for (name, points) in [
        ("server memory", curve(&|it| mib(it.usage.server_rss))),
        ("disk", curve(&|it| mib(it.disk))),
    ] {
        let late = points.get(points.len() / 2..).unwrap_or_default();
        report.figure(
            &format!("{name}, drift in the second half"),
            slope(late),
            "MiB/h",
        );
        report.curves.push(ReportCurve {
            name: name.to_owned(),
            x: "hours".to_owned(),
            y: "MiB".to_owned(),
            points,
        });
    }
}

/// Returns the slope of y over x, by least squares.
#[expect(clippy::cast_precision_loss, reason = "hundreds of points")]
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len().max(1) as f64;
    let (x, y) = points
        .iter()
        .fold((0.0, 0.0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    let (x, y) = (x / count, y / count);
    let (mut up, mut wide) = (0.0, 0.0);
    for point in points {
        up += (point.0 - x) * (point.1 - y);
        wide += (point.0 - x) * (point.0 - x);
    }
    if wide > 0.0 { up / wide } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope_and_a_point_none() {
        let line: Vec<_> = (0..9)
            .map(|n| (f64::from(n), 7.0 + 3.0 * f64::from(n)))
            .collect();
        assert!((slope(&line) - 3.0).abs() < 1e-9);
        assert!(slope(&[(1.0, 1.0)]).abs() < 1e-9);
    }

    #[test]
    fn a_folder_weighs_what_its_files_do() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        std::fs::write(folder.path().join("in/a"), [0; 100]).unwrap();
        std::fs::write(folder.path().join("b"), [0; 20]).unwrap();
        assert_eq!(size_of_folder(folder.path()), 120);
    }
}
