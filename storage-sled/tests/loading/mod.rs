//! Measures the memory of the storage while it stores rows, to compare it with the bound that is
//! documented for operators (docs/operations.md). Shared by the test (few rows) and the example (as
//! many as asked for).
//!
//! The resident memory of the process is read after every append, so each load runs in a process of
//! its own: the program starts itself with [`LOADER`].

mod load;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

pub(crate) use load::LoadKind;

/// First argument of a loading process; its directory, load, rows and cache follow.
pub(crate) const LOADER: &str = "loader";

/// One measurement.
#[derive(Debug)]
pub(crate) struct LoadTask {
    /// The load that is stored.
    pub(crate) load: LoadKind,
    /// Number of rows.
    pub(crate) rows: u64,
    /// Bytes of the storage's cache.
    pub(crate) cache: u64,
    /// Prints each sample.
    pub(crate) verbose: bool,
}

/// Result of a measurement.
#[derive(Debug, Default)]
pub(crate) struct MemorySummary {
    /// Resident bytes before the first append.
    pub(crate) start: u64,
    /// The largest resident bytes after an append.
    pub(crate) peak: u64,
    /// Resident bytes at the end.
    pub(crate) end: u64,
    /// Rows per second.
    pub(crate) rate: u64,
}

/// Runs a load if the program was started for one.
pub(crate) fn loader() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some(LOADER) {
        return None;
    }
    let dir = arguments.next().expect("a directory");
    let name = arguments.next().expect("a load");
    let load = LoadKind::named(&name).expect("a known load");
    let mut number = || arguments.next().expect("a number").parse::<u64>();
    let (rows, cache) = (number().expect("rows"), number().expect("bytes"));
    load::run(Path::new(&dir), load, rows, cache);
    Some(ExitCode::SUCCESS)
}

/// Runs one load in a process of its own and returns the measurement.
pub(crate) fn measure(task: &LoadTask) -> MemorySummary {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let own = std::env::current_exe().expect("the path of this program");
    let mut child = Command::new(own)
        .args([LOADER, &dir.path().join("data").to_string_lossy()])
        .args([
            task.load.name(),
            &task.rows.to_string(),
            &task.cache.to_string(),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let out = child.stdout.take().expect("a pipe");
    let mut summary = MemorySummary::default();
    for line in BufReader::new(out).lines() {
        let line = line.expect("a line");
        let mut numbers = line
            .split(' ')
            .map(|it| it.parse::<u64>().expect("a number"));
        let mut next = || numbers.next().expect("a field");
        let (rows, millis, rss) = (next(), next(), next());
        if task.verbose {
            println!(
                "{:>10} rows {:>6} s {:>5} MiB",
                rows,
                millis / 1_000,
                rss >> 20
            );
        }
        if rows == 0 {
            summary.start = rss;
        }
        summary.peak = summary.peak.max(rss);
        summary.end = rss;
        summary.rate = rows * 1_000 / millis.max(1);
    }
    let status = child.wait().expect("the process ends");
    assert!(
        status.success(),
        "the load {} ended with {status}",
        task.load.name()
    );
    summary
}
