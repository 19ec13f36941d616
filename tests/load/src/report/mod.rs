//! Report of a run: a table for the terminal, JSON, and a page with plots.

mod html;
pub(crate) mod plot;
mod scale;
mod table;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::LoadError;
use crate::args::CommonArgs;
use crate::clock;
use crate::judge::JudgeFindings;
use crate::latency::LatencySummary;
use crate::measured_limit::MeasuredLimit;
use crate::target::{ServerTarget, UsageDelta};
pub(crate) use table::number;

/// Measured figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportFigure {
    /// Name of the figure.
    pub name: String,
    /// Value.
    pub value: f64,
    /// Unit.
    pub unit: String,
    /// Limit that bounds it, if it was measured in this run.
    pub limit: Option<MeasuredLimit>,
}

/// Times of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportTimes {
    /// Start and end of the times, in words.
    pub name: String,
    /// Distribution of the times.
    pub summary: LatencySummary,
}

/// Points that belong together, for example memory over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportCurve {
    /// Name of the curve.
    pub name: String,
    /// Quantity on the x axis.
    pub x: String,
    /// Quantity on the y axis.
    pub y: String,
    /// The points.
    pub points: Vec<(f64, f64)>,
}

/// Machine of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineInfo {
    /// Model of the processor.
    pub cpu: String,
    /// Number of cores.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Version of the kernel.
    pub kernel: String,
    /// Commit of the working copy, if the program runs in one.
    pub commit: String,
}

/// Report of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunReport {
    /// Name of the scenario.
    pub scenario: String,
    /// Command line of the run.
    pub command: String,
    /// Time of the end, milliseconds since 1970 UTC.
    pub ended_ms: i64,
    /// Storage of the server.
    pub store: String,
    /// Protocol of the clients.
    pub wire: String,
    /// Version of the server, as it says.
    pub server: String,
    /// Machine of the run.
    pub machine: MachineInfo,
    /// The figures.
    pub figures: Vec<ReportFigure>,
    /// The times.
    pub times: Vec<ReportTimes>,
    /// More curves to plot.
    pub curves: Vec<ReportCurve>,
    /// Limits that were measured.
    pub limits: Vec<MeasuredLimit>,
    /// Notes that explain the figures.
    pub notes: Vec<String>,
    /// Findings of the judge; any of them fails the run.
    pub findings: JudgeFindings,
}

fn read(path: &str, key: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(key));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
}

impl MachineInfo {
    /// Describes this machine.
    pub(crate) fn here() -> Self {
        let memory = read("/proc/meminfo", "MemTotal");
        let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        let git = Command::new("git")
            .args(["describe", "--always", "--dirty"])
            .output();
        let commit = git.ok().filter(|it| it.status.success());
        Self {
            cpu: read("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            memory_mib: kib / 1024,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| String::new(), |text| text.trim().to_owned()),
            commit: commit.map_or_else(String::new, |it| {
                String::from_utf8_lossy(&it.stdout).trim().to_owned()
            }),
        }
    }
}

/// Returns this run's command, without the folder of the program.
pub(crate) fn command() -> String {
    let program = std::env::args()
        .take(1)
        .map(|it| match it.rsplit('/').next() {
            Some(name) => name.to_owned(),
            None => it,
        });
    let words: Vec<String> = program.chain(std::env::args().skip(1)).collect();
    words.join(" ")
}

impl RunReport {
    /// Creates a report without figures.
    #[must_use]
    pub fn new(scenario: &str, args: &CommonArgs, target: &ServerTarget) -> Self {
        Self {
            store: target
                .store
                .map_or_else(|| "the server's own".to_owned(), |store| store.to_string()),
            wire: args.wire.to_string(),
            server: target.version.clone(),
            machine: MachineInfo::here(),
            ..Self::empty(scenario)
        }
    }

    /// Creates a report that belongs to no server.
    pub(crate) fn empty(scenario: &str) -> Self {
        Self {
            scenario: scenario.to_owned(),
            command: command(),
            ended_ms: 0,
            store: String::new(),
            wire: String::new(),
            server: String::new(),
            machine: MachineInfo::default(),
            figures: Vec::new(),
            times: Vec::new(),
            curves: Vec::new(),
            limits: Vec::new(),
            notes: Vec::new(),
            findings: JudgeFindings::default(),
        }
    }

    /// Adds a figure.
    pub fn figure(&mut self, name: &str, value: f64, unit: &str) {
        self.share(name, value, unit, None);
    }

    /// Adds a figure that is printed as a share of the limit that bounds it.
    pub fn share(&mut self, name: &str, value: f64, unit: &str, limit: Option<&MeasuredLimit>) {
        self.figures.push(ReportFigure {
            name: name.to_owned(),
            value,
            unit: unit.to_owned(),
            limit: limit.cloned(),
        });
    }

    /// Adds times.
    pub fn times(&mut self, name: &str, summary: LatencySummary) {
        self.times.push(ReportTimes {
            name: name.to_owned(),
            summary,
        });
    }

    /// Adds the usage of server, clients and others; `done` is the number of `what` done meanwhile.
    #[expect(clippy::cast_precision_loss, reason = "memory in MiB")]
    pub fn load(&mut self, load: &UsageDelta, done: f64, what: &str) {
        if load.server_rss > 0 {
            let per = |cores: f64| cores * load.seconds * 1e6 / done.max(1.0);
            let unit = format!("µs/{what}");
            self.figure("server CPU", load.server_cores, "cores");
            self.figure("server CPU each", per(load.server_cores), &unit);
            self.figure("  of it in the kernel", per(load.server_system), &unit);
            let mib = load.server_rss as f64 / f64::from(1 << 20);
            self.figure("server memory", mib, "MiB");
        }
        self.figure("client CPU", load.client_cores, "cores");
        self.figure("other CPU", load.other_cores, "cores");
    }

    /// Returns the value of the figure with this name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<f64> {
        let figure = self.figures.iter().find(|it| it.name == name);
        figure.map(|it| it.value)
    }

    /// Returns the times with this name.
    #[must_use]
    pub fn summary(&self, name: &str) -> Option<&LatencySummary> {
        let times = self.times.iter().find(|it| it.name == name);
        times.map(|it| &it.summary)
    }

    /// Returns true if the judge found nothing.
    #[must_use]
    pub fn good(&self) -> bool {
        self.findings.is_empty()
    }

    /// Prints the table and writes the requested files.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn publish(&mut self, args: &CommonArgs) -> Result<(), LoadError> {
        self.ended_ms = clock::today();
        print!("{}", self.table());
        if let Some(path) = &args.json {
            let text = serde_json::to_string_pretty(self);
            write(path, &text.map_err(|error| LoadError::new("JSON", error))?)?;
        }
        if let Some(path) = &args.html {
            write(path, &self.html())?;
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> Result<(), LoadError> {
    fs::write(path, text).map_err(|error| LoadError::new(path.display().to_string(), error))
}
