//! `gimlet import gim`: the database to read, the storage to fill, and what is said about it.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use gimlet_cli::gim_import::{
    GimDatabase, ImportError, ImportOptions, ImportPhase, ImportProgress, ImportSummary,
    ImportTarget, run as import,
};
use gimlet_server::Config;
use gimlet_server::tools::{ImportStorage, ImportedStores, ToolError};
use serde_json::json;

use crate::banner;
use crate::progress_line::ProgressLine;

/// Value of `--from` that stands for standard input.
const STANDARD_INPUT: &str = "-";
/// Largest offset of a time zone, in minutes.
const MAX_ZONE_MINUTES: i32 = 14 * 60;

/// Arguments of `gimlet import gim`.
#[derive(Clone, Debug, Args)]
pub(crate) struct GimImportArgs {
    /// gim's database: mysql://user:password@host:port/database. - reads it from standard input,
    /// where other users of the machine do not see the password.
    #[arg(long, value_name = "URL")]
    pub(crate) from: String,
    /// A file that gets a line for each row that cannot be imported; it must not exist.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Goes on without the rows that cannot be imported.
    #[arg(long)]
    pub(crate) skip_broken: bool,
    /// Time zone in which gim wrote its times, as an offset from UTC.
    #[arg(long, value_name = "OFFSET", default_value = "+00:00", allow_hyphen_values = true,
          value_parser = zone_minutes)]
    pub(crate) time_zone: i32,
}

/// Reasons the command fails.
#[derive(Debug, thiserror::Error)]
enum GimImportFailure {
    /// The storage to fill.
    #[error(transparent)]
    Storage(#[from] ToolError),
    /// The import, with what to do before the next one.
    #[error("{0}{1}")]
    Import(ImportError, &'static str),
    /// The address or the report.
    #[error("{0}: {1}")]
    File(String, io::Error),
}

/// Runs the command.
pub(crate) fn run(config: &Config, args: &GimImportArgs, json: bool) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return banner::fail(1, &format!("cannot start: {error}")),
    };
    let mut shown = ProgressLine::new(json);
    let mut step = |progress: ImportProgress| {
        let phase = match progress.phase {
            ImportPhase::Check => "checked",
            ImportPhase::Write => "imported",
        };
        shown.show(|| format!("{phase} {} rows", progress.rows));
        Ok(())
    };
    let done = runtime.block_on(import_all(config, args, &mut step));
    shown.clear();
    match done {
        Ok(summary) => {
            banner::say(&text_of(&summary, json));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            if json {
                banner::say(&json!({ "error": failure.to_string() }).to_string());
            }
            banner::fail(1, &failure.to_string())
        }
    }
}

async fn import_all(
    config: &Config,
    args: &GimImportArgs,
    step: &mut (dyn FnMut(ImportProgress) -> io::Result<()> + Send),
) -> Result<ImportSummary, GimImportFailure> {
    let url = address(&args.from)?;
    let mut report = args.report.as_deref().map(new_file).transpose()?;
    let failed = |error| GimImportFailure::Import(error, "");
    // The source first: a wrong address must leave no trace in the storage.
    let opening = GimDatabase::open(&url, args.time_zone);
    let mut database = opening.await.map_err(failed)?;
    let storage = ImportStorage::begin(config).await?;
    let options = ImportOptions {
        skip_broken: args.skip_broken,
        report: report.as_mut().map(|it| it as &mut (dyn io::Write + Send)),
    };
    let target = target(storage.stores());
    let mut was_written = false;
    let mut noting = |progress: ImportProgress| {
        was_written |= progress.phase == ImportPhase::Write;
        step(progress)
    };
    let imported = import(&mut database, &target, options, &mut noting).await;
    // The storage closes when its last handle is gone.
    drop(target);
    match imported {
        Ok(summary) => {
            storage.finish().await?;
            Ok(summary)
        }
        Err(error) => {
            let remedy = storage.abandon(was_written).await?;
            Err(GimImportFailure::Import(error, remedy))
        }
    }
}

fn target(stores: &ImportedStores) -> ImportTarget {
    let stores = stores.clone();
    ImportTarget {
        seq: stores.seq,
        inbox: stores.inbox,
        group: stores.group,
        friend: stores.friend,
        device: stores.device,
        account: stores.account,
    }
}

fn address(from: &str) -> Result<String, GimImportFailure> {
    if from != STANDARD_INPUT {
        return Ok(from.to_owned());
    }
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    read.map_err(|error| GimImportFailure::File("cannot read the address".to_owned(), error))?;
    Ok(line.trim().to_owned())
}

fn new_file(path: &Path) -> Result<BufWriter<File>, GimImportFailure> {
    let file = File::create_new(path);
    let failed = |error| GimImportFailure::File(format!("cannot write {}", path.display()), error);
    Ok(BufWriter::new(file.map_err(failed)?))
}

/// Reads an offset like +08:00.
fn zone_minutes(text: &str) -> Result<i32, String> {
    let wrong = || format!("{text:?} is not an offset from UTC: write it like +08:00");
    let (sign, rest) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(rest), _) => (1, rest),
        (None, Some(rest)) => (-1, rest),
        (None, None) => return Err(wrong()),
    };
    let (hours, minutes) = rest.split_once(':').ok_or_else(wrong)?;
    let number = |digits: &str, below: i32| -> Result<i32, String> {
        let is_number = digits.len() == 2 && digits.bytes().all(|it| it.is_ascii_digit());
        let number = digits
            .parse::<i32>()
            .ok()
            .filter(|it| is_number && *it < below);
        number.ok_or_else(wrong)
    };
    let minutes = number(hours, 15)? * 60 + number(minutes, 60)?;
    if minutes > MAX_ZONE_MINUTES {
        return Err(wrong());
    }
    Ok(sign * minutes)
}

fn text_of(summary: &ImportSummary, json: bool) -> String {
    let ImportSummary {
        generation,
        users,
        devices,
        friends,
        groups,
        members,
        inboxes,
        messages,
        filled,
        broken,
    } = *summary;
    if json {
        let summary = json!({
            "generation": generation.years(), "users": users, "devices": devices, "friends": friends,
            "groups": groups, "members": members, "inboxes": inboxes, "messages": messages,
            "filled": filled, "broken": broken,
        });
        return summary.to_string();
    }
    format!(
        "imported a gim of {}: {users} users, {devices} devices, {friends} rows of friends, {groups} groups \
         with {members} members, {inboxes} inboxes with {messages} messages; {filled} seqs had no message \
         and {broken} rows were left out",
        generation.years()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_read_and_others_are_refused() {
        for (text, minutes) in [("+00:00", 0), ("+08:00", 480), ("-03:30", -210)] {
            assert_eq!(zone_minutes(text), Ok(minutes));
        }
        for text in [
            "", "8", "+8:00", "+08", "08:00", "+15:00", "+14:30", "+0x:00", "++1:00",
        ] {
            let refused = zone_minutes(text).unwrap_err();
            assert!(refused.contains("like +08:00"), "{refused}");
        }
    }
}
