//! The arguments of `curve`, and the scenarios that they describe.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::LoadError;
use crate::args::StoreKind;
use crate::judge::JudgeFindings;
use crate::scenario::ScenarioCommand;

/// Curves by their growing quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CurveName {
    /// Connections, on one node in memory and on --nodes nodes: memory of each, connects, CPU
    Connections,
    /// Entries in the store: sends, page reads, memory, disk, start
    Inbox,
    /// Members of a group: entries, time until the last member has it
    Group,
    /// Rooms that share --total members: deliveries, CPU
    Rooms,
    /// Connect nodes: sends, deliveries, CPU
    Nodes,
    /// Seconds of sends to a group of 1,000 on sled: memory and disk of the server
    Memory,
}

/// Arguments of `curve`.
#[derive(Args, Clone, Debug)]
pub struct CurveArgs {
    /// Curve to measure
    pub name: CurveName,
    /// Points to measure, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub points: Vec<usize>,
    /// Stores of `inbox` and `group`, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_value = "memory,sled")]
    pub stores: Vec<StoreKind>,
    /// Connect nodes of `connections`
    #[arg(long, default_value_t = 11)]
    pub nodes: usize,
    /// Members of all rooms together, for `rooms`
    #[arg(long, default_value_t = 10_000)]
    pub total: usize,
    /// Seconds measured at each point
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// Folder for the data and the picture
    #[arg(long, value_name = "DIR", default_value = "docs/performance")]
    pub dir: PathBuf,
    /// More arguments of the scenarios, for example `-- --set NAME=VALUE`
    #[arg(last = true)]
    pub more: Vec<String>,
}

impl CurveArgs {
    /// Returns the points given as arguments, or the usual ones.
    pub(super) fn points(&self, usual: &[usize]) -> Vec<usize> {
        let asked = (!self.points.is_empty()).then(|| self.points.clone());
        asked.unwrap_or_else(|| usual.to_vec())
    }

    /// Parses a scenario from these words and the arguments that all points share; returns its
    /// command line, too.
    pub(super) fn scenario(&self, words: &str) -> Result<(String, ScenarioCommand), LoadError> {
        let given = format!("--seconds {} --warm-up 1", self.seconds);
        let words = words.split_whitespace().chain(given.split_whitespace());
        let words = words.map(str::to_owned).chain(self.more.iter().cloned());
        let line: Vec<String> = words.collect();
        let scenario = ScenarioCommand::parse(&line)?;
        Ok((format!("gimlet-load {}", line.join(" ")), scenario))
    }
}

/// Fails the curve if a point has findings.
pub(super) fn check(point: &str, findings: &JudgeFindings) -> Result<(), LoadError> {
    if findings.is_empty() {
        return Ok(());
    }
    Err(LoadError::new(point, findings.lines().join("; ")))
}
