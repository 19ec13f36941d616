//! Targets: the share of its limit that each scenario must reach, all in one run. Each line runs a
//! scenario with its limits right beside it, as its own command would.

mod list;

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::report::{MachineInfo, RunReport, number};
use crate::scenario::ScenarioCommand;
use crate::scenario::direct::DISK;
use crate::{LoadError, clock};
use list::{CheckedValue, LIST, TargetBound, TargetLine};

/// Arguments of `targets`.
#[derive(Args, Clone, Debug)]
pub struct TargetsArgs {
    /// Run only the lines whose command contains one of these words, for example `room` or `sled`
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
    pub only: Vec<String>,
    /// Seconds of the measured part of each line
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Write the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// More arguments of the scenarios, for example `-- --set NAME=VALUE`
    #[arg(last = true)]
    pub more: Vec<String>,
}

/// Target and its measured value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TargetResult {
    /// Command of the scenario.
    pub command: String,
    /// Description of the measured value.
    pub what: String,
    /// Target in words, for example `≥ 40 %`.
    pub target: String,
    /// Measured value; `None` if it could not be measured.
    pub value: Option<f64>,
    /// Unit of the value.
    pub unit: String,
    /// Value over target, or target over value where less is better: 1 and more means met.
    pub reached: Option<f64>,
    /// Bound of the value where it is not a share: the same times of the disk alone.
    #[serde(default)]
    pub bound: Option<String>,
    /// Reason for a missing value, or the findings of the judge.
    pub fault: Option<String>,
}

/// Results of all targets.
#[derive(Debug, Serialize, Deserialize)]
pub struct TargetResults {
    /// Machine of the run, and its commit.
    pub machine: MachineInfo,
    /// Time of the end, milliseconds since 1970 UTC.
    pub ended_ms: i64,
    /// Targets and their values.
    pub targets: Vec<TargetResult>,
    /// Reports of the scenarios.
    pub reports: Vec<RunReport>,
}

impl TargetResult {
    /// Returns true if the target is met and nothing was wrong.
    #[must_use]
    pub fn met(&self) -> bool {
        self.fault.is_none() && self.reached.is_some_and(|it| it >= 1.0)
    }

    fn verdict(&self) -> String {
        match (&self.fault, self.reached) {
            (Some(fault), _) => format!("FAILED: {fault}"),
            (None, None) => "not measured".to_owned(),
            (None, Some(reached)) if reached >= 1.0 => "met".to_owned(),
            (None, Some(reached)) => format!("MISSED by {:.0} %", (1.0 - reached) * 100.0),
        }
    }

    /// Formats the result as a line of a table.
    #[must_use]
    pub fn line(&self) -> String {
        let value = self.value.map_or_else(|| "-".to_owned(), number);
        let Self {
            what, unit, target, ..
        } = self;
        let bound = self.bound.as_ref();
        let bound = bound.map_or_else(String::new, |it| format!(" ({it})"));
        format!(
            "  {what:<42} {value:>10} {unit:<8} {target:<16} {}{bound}",
            self.verdict()
        )
    }
}

/// Returns the value of a report that a target checks.
fn measured(what: &CheckedValue, report: &RunReport) -> Option<f64> {
    match *what {
        CheckedValue::Figure(name) => report.value(name),
        CheckedValue::P99(name) => report.summary(name).map(|it| it.p99_ms),
        CheckedValue::P50(name) => report.summary(name).map(|it| it.p50_ms),
        CheckedValue::Share(name) => {
            let figure = report.figures.iter().find(|it| it.name == name)?;
            Some(figure.limit.as_ref()?.share(figure.value))
        }
        CheckedValue::Times(name, limit) => {
            let limit = report.limits.get(limit)?;
            Some(report.value(name)? / limit.value.max(f64::MIN_POSITIVE))
        }
    }
}

/// Describes the disk alone in the same seconds, for targets that are not shares.
fn alone(what: &CheckedValue, report: &RunReport) -> Option<String> {
    let CheckedValue::P99(_) = what else {
        return None;
    };
    let disk = report.summary(DISK)?;
    Some(format!("{DISK}: {} ms", number(disk.p99_ms)))
}

/// Checks the targets of a line against the report of its scenario.
fn judge(
    line: &TargetLine,
    command: &str,
    report: &Result<RunReport, LoadError>,
) -> Vec<TargetResult> {
    let fault = match report {
        Ok(report) if report.good() => None,
        Ok(report) => Some(report.findings.lines().join("; ")),
        Err(fault) => Some(fault.to_string()),
    };
    let report = report.as_ref().ok();
    let judge = |check: &list::TargetCheck| {
        let value = report.and_then(|report| measured(&check.what, report));
        let (sign, bound, reached) = match check.bound {
            TargetBound::AtLeast(bound) => ("≥", bound, value.map(|it| it / bound)),
            TargetBound::AtMost(bound) => ("≤", bound, value.map(|it| bound / it.max(1e-9))),
        };
        TargetResult {
            command: command.to_owned(),
            what: check.text.to_owned(),
            target: format!("{sign} {} {}", number(bound), check.unit),
            value,
            unit: check.unit.to_owned(),
            // A value below 0 is as good as it gets.
            reached: reached.map(|it| if it < 0.0 { f64::MAX } else { it }),
            bound: report.and_then(|report| alone(&check.what, report)),
            fault: fault.clone(),
        }
    };
    line.checks.iter().map(judge).collect()
}

/// Runs all selected lines; returns true if every target is met.
///
/// # Errors
/// The results cannot be written.
pub async fn run(args: &TargetsArgs) -> Result<bool, LoadError> {
    let mut results = TargetResults {
        machine: MachineInfo::here(),
        ended_ms: 0,
        targets: Vec::new(),
        reports: Vec::new(),
    };
    let mut peak = None;
    for line in LIST {
        let wanted = |only: &String| line.words.contains(only.as_str());
        if !args.only.is_empty() && !args.only.iter().any(wanted) {
            continue;
        }
        let half = peak.unwrap_or(2_000.0) / 2.0;
        let words = line.words.replace("HALF", &format!("{half:.0}"));
        let given = format!("{words} --limits --seconds {} --warm-up 1", args.seconds);
        let given = given.split_whitespace().map(str::to_owned);
        let words: Vec<String> = given.chain(args.more.iter().cloned()).collect();
        let command = format!("gimlet-load {}", words.join(" "));
        println!("{command}");
        let report = match ScenarioCommand::parse(&words) {
            Ok(scenario) => scenario.run().await,
            Err(fault) => Err(fault),
        };
        peak = report.as_ref().ok().and_then(|it| it.value("answered"));
        for judged in judge(line, &command, &report) {
            println!("{}", judged.line());
            results.targets.push(judged);
        }
        if let Ok(mut report) = report {
            report.command = command;
            results.reports.push(report);
        }
    }
    results.ended_ms = clock::today();
    let met = results.targets.iter().filter(|it| it.met()).count();
    println!("\n{met} of {} targets are met", results.targets.len());
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&results);
        std::fs::write(path, text.map_err(|error| LoadError::new("JSON", error))?)?;
    }
    Ok(met == results.targets.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measured_limit::MeasuredLimit;

    #[test]
    fn every_line_is_a_scenario() {
        for line in LIST {
            let words = line.words.replace("HALF", "100");
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            assert!(ScenarioCommand::parse(&words).is_ok(), "{}", line.words);
        }
    }

    #[test]
    fn a_share_is_judged_by_its_limit_and_a_loss_fails_it() {
        const CHECK: list::TargetCheck = list::TargetCheck {
            what: CheckedValue::Share("answered"),
            text: "answered",
            bound: TargetBound::AtLeast(40.0),
            unit: "%",
        };
        let line = TargetLine {
            words: "",
            checks: &[CHECK],
        };
        let mut report = RunReport::empty("direct");
        report.share(
            "answered",
            300.0,
            "1/s",
            Some(&MeasuredLimit::new("x", 1_000.0, "1/s")),
        );
        let report = Ok(report);
        let judged = judge(&line, "", &report);
        let [judged] = &*judged else { panic!() };
        assert!(
            !judged.met() && judged.verdict() == "MISSED by 25 %",
            "{judged:?}"
        );
        let lost = judge(&line, "", &Err(LoadError::new("a run", "lost")));
        assert!(lost.iter().all(|it| !it.met() && it.value.is_none()));
    }
}
