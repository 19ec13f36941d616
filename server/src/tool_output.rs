//! Output of the tools: progress on a terminal, a sentence for people, a line of JSON for scripts.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use gimlet_server::Config;
use gimlet_server::doctor::{DoctorReport, FindingLevel};
use gimlet_server::tools::{self, BackupSummary, ToolError, ToolProgress};
use serde_json::json;

use crate::banner;
use crate::progress_line::ProgressLine;

/// The exit code of a check with findings.
const EXIT_FINDINGS: u8 = 3;

/// A tool with its arguments.
#[derive(Debug)]
pub(crate) enum ToolCommand {
    /// Back up to this file.
    #[cfg(all(unix, feature = "sled"))]
    Backup(PathBuf),
    /// Restore from this file.
    #[cfg(all(unix, feature = "sled"))]
    Restore(PathBuf),
    /// End the history.
    NewEpoch,
    /// Check the storage, or this backup.
    Verify(Option<PathBuf>),
}

/// Runs a tool.
pub(crate) fn run(config: &Config, tool: ToolCommand, json: bool) -> ExitCode {
    let mut shown = ProgressLine::new(json);
    let mut step = |progress| {
        shown.show(|| match progress {
            ToolProgress::Bytes(bytes) => format!("{} MiB", bytes >> 20),
            ToolProgress::Rows(rows) => format!("{rows} rows"),
            ToolProgress::Question(at, of) => format!("{at} of {of}"),
        });
        Ok(())
    };
    let done = match tool {
        #[cfg(all(unix, feature = "sled"))]
        ToolCommand::Backup(to) => {
            tools::backup(config, &to, &mut step).map(|it| ToolResult::backup(&to, &it))
        }
        #[cfg(all(unix, feature = "sled"))]
        ToolCommand::Restore(from) => tools::restore(config, &from, &mut step).map(|it| ToolResult::restore(&it)),
        ToolCommand::NewEpoch => tools::new_epoch(config).map(|(old, new)| ToolResult {
            text: format!(
                "the epoch was {} and is {} now; running nodes notice within two seconds, and clients \
                 of the extension start over",
                old.0, new.0
            ),
            json: json!({ "old": old.0, "new": new.0 }),
            to_stderr: false,
            code: 0,
        }),
        ToolCommand::Verify(file) => {
            tools::verify(config, file.as_deref(), &mut step).map(|it| ToolResult::report(&it))
        }
    };
    shown.clear();
    match done {
        Ok(said) => said.say(json),
        Err(error) => fail(&error, json),
    }
}

/// Prints the findings of an examination, and returns the exit code.
pub(crate) fn say_examination(report: &DoctorReport, json: bool) -> ExitCode {
    if json {
        let findings = report.findings.iter();
        let findings: Vec<_> = findings
            .map(|it| json!({ "level": it.level.name(), "topic": it.topic, "text": it.text }))
            .collect();
        banner::say(&json!({ "findings": findings }).to_string());
    } else {
        banner::say(&report.to_string());
    }
    match report.count(FindingLevel::Problem) {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(EXIT_FINDINGS),
    }
}

fn fail(error: &ToolError, json: bool) -> ExitCode {
    if json {
        banner::say(&json!({ "error": error.to_string() }).to_string());
    }
    banner::fail(1, &error.to_string())
}

/// The result of a tool, in both forms.
struct ToolResult {
    text: String,
    json: serde_json::Value,
    /// `true` if standard output has the backup.
    to_stderr: bool,
    code: u8,
}

impl ToolResult {
    #[cfg(all(unix, feature = "sled"))]
    fn backup(to: &std::path::Path, done: &BackupSummary) -> Self {
        let BackupSummary {
            bytes,
            rows,
            files,
            live,
            ..
        } = *done;
        let how = if live {
            "while it was in use"
        } else {
            "closed"
        };
        Self {
            text: format!(
                "{}: {bytes} bytes, {rows} rows, {files} uploaded files; the storage was copied {how}",
                to.display()
            ),
            json: json!({
                "file": to.display().to_string(), "bytes": bytes, "rows": rows, "files": files,
                "live": live,
            }),
            to_stderr: to == std::path::Path::new("-"),
            code: 0,
        }
    }

    #[cfg(all(unix, feature = "sled"))]
    fn restore(done: &BackupSummary) -> Self {
        let BackupSummary {
            bytes,
            rows,
            files,
            epoch,
            ..
        } = *done;
        Self {
            text: format!(
                "restored {rows} rows and {files} uploaded files; the storage has a new epoch, and \
                 clients of the extension start over"
            ),
            json: json!({ "bytes": bytes, "rows": rows, "files": files, "epoch": epoch }),
            to_stderr: false,
            code: 0,
        }
    }

    fn report(report: &gimlet_core::verify::VerifyReport) -> Self {
        let read: Vec<_> = report
            .checked
            .iter()
            .map(|(kind, n)| format!("{n} {kind}"))
            .collect();
        let mut text = format!("read {}\n", read.join(", "));
        for it in &report.findings {
            let _ = std::fmt::Write::write_fmt(
                &mut text,
                format_args!("{}: {}: {}\n", it.rule.name(), it.location, it.what),
            );
        }
        let all = report.findings.len() as u64 + report.more;
        let end = match (all, report.more) {
            (0, _) => "no findings: every law that can be checked holds".to_owned(),
            (all, 0) => format!("{all} findings; restore a backup, or ask before further use"),
            (all, more) => format!("{all} findings, {more} of them not shown"),
        };
        text.push_str(&end);
        let findings: Vec<_> = report
            .findings
            .iter()
            .map(|it| json!({ "rule": it.rule.name(), "place": it.location, "what": it.what }))
            .collect();
        Self {
            text,
            json: json!({ "checked": report.checked, "findings": findings, "more": report.more }),
            to_stderr: false,
            code: if report.is_sound() { 0 } else { EXIT_FINDINGS },
        }
    }

    fn say(self, json: bool) -> ExitCode {
        let text = if json {
            self.json.to_string()
        } else {
            self.text
        };
        if self.to_stderr {
            let _ = writeln!(io::stderr().lock(), "{text}");
        } else {
            banner::say(&text);
        }
        ExitCode::from(self.code)
    }
}
