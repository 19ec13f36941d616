//! An import: a pass that checks, then a pass that writes.

use std::io::Write;
use std::sync::Arc;

use gimlet_core::id::{MAX_ID, UserId};

use crate::error::ImportError;
use crate::findings::RowFindings;
use crate::inbox::InboxWriter;
use crate::message::convert;
use crate::pass::ImportPass;
use crate::rows::EntryRow;
use crate::source::GimDatabase;
use crate::summary::ImportSummary;
use crate::target::ImportTarget;
use crate::{accounts, devices, friends, groups};

pub use crate::pass::ProgressCallback;

/// Choices of an import.
#[derive(Default)]
pub struct ImportOptions<'a> {
    /// Goes on without the rows that cannot be imported.
    pub skip_broken: bool,
    /// Gets a line for each of those rows.
    pub report: Option<&'a mut (dyn Write + Send)>,
}

impl std::fmt::Debug for ImportOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportOptions")
            .field("skip_broken", &self.skip_broken)
            .finish_non_exhaustive()
    }
}

/// Imports a database of gim into an empty storage that nothing else uses.
///
/// # Errors
/// [`ImportError::Broken`] before anything was written. After any other error the storage holds a
/// part of the data and must be thrown away.
pub async fn run(
    database: &mut GimDatabase,
    target: &ImportTarget,
    options: ImportOptions<'_>,
    progress: ProgressCallback<'_>,
) -> Result<ImportSummary, ImportError> {
    let mut report = options.report;
    let report = report
        .as_mut()
        .map(|it| &mut **it as &mut (dyn Write + Send));
    let (checked, first) = pass(database, None, report, &mut *progress).await?;
    if let (Some(first), false) = (first, options.skip_broken) {
        return Err(ImportError::Broken {
            rows: checked.broken,
            first,
        });
    }
    let (written, _) = pass(database, Some(target), None, &mut *progress).await?;
    Ok(written)
}

/// Runs a pass; returns its counts, and the first row that cannot be imported.
async fn pass<'a>(
    database: &'a mut GimDatabase,
    target: Option<&'a ImportTarget>,
    report: Option<&'a mut (dyn Write + Send)>,
    progress: ProgressCallback<'a>,
) -> Result<(ImportSummary, Option<String>), ImportError> {
    let generation = database.generation();
    let mut pass = ImportPass {
        database,
        target,
        findings: RowFindings::new(report),
        summary: ImportSummary::new(generation),
        progress,
        rows: 0,
    };
    // Users first: everything else names them.
    accounts::import(&mut pass).await?;
    devices::import(&mut pass).await?;
    friends::import(&mut pass).await?;
    groups::import(&mut pass).await?;
    inboxes(&mut pass).await?;
    let ImportPass {
        findings,
        mut summary,
        ..
    } = pass;
    let (broken, first) = findings.end()?;
    summary.broken = broken;
    Ok((summary, first))
}

async fn inboxes(pass: &mut ImportPass<'_>) -> Result<(), ImportError> {
    let mut writer = InboxWriter::new(pass.target.map(|it| Arc::clone(&it.inbox)));
    for table in pass.database.schema().message_tables.clone() {
        let mut after = (0, 0);
        loop {
            let rows = pass.database.entries(&table, after).await?;
            let Some(last) = rows.last() else {
                break;
            };
            after = (last.user, last.seq);
            pass.advance(rows.len())?;
            for row in rows {
                entry(pass, &mut writer, &table, &row).await?;
            }
        }
        writer.end(&mut pass.findings).await?;
    }
    bare_seqs(pass, &mut writer).await?;
    writer.end(&mut pass.findings).await?;
    pass.summary.inboxes = writer.inboxes;
    pass.summary.messages = writer.messages;
    pass.summary.filled = writer.filled;
    Ok(())
}

async fn entry(
    pass: &mut ImportPass<'_>,
    writer: &mut InboxWriter,
    table: &str,
    row: &EntryRow,
) -> Result<(), ImportError> {
    let Some(user) = UserId::new(row.user).filter(|_| row.user_exists) else {
        let what = "its user does not exist";
        return pass.findings.note(table, entry_key(row), what);
    };
    if !(1..=MAX_ID).contains(&row.seq) {
        let what = "its seq is not from 1 to 9223372036854775807";
        return pass.findings.note(table, entry_key(row), what);
    }
    let head = row.head.min(MAX_ID);
    let at = (user, row.seq);
    match convert(user, row) {
        Ok(message) => writer.put(at, message, head, &mut pass.findings).await,
        Err(what) => {
            pass.findings.note(table, entry_key(row), what)?;
            writer.leave_out(at, head, &mut pass.findings).await
        }
    }
}

fn entry_key(row: &EntryRow) -> String {
    format!("user_id {}, seq {}", row.user, row.seq)
}

/// Begins the inboxes of users that have a seq and no entry any more: their next message continues.
async fn bare_seqs(pass: &mut ImportPass<'_>, writer: &mut InboxWriter) -> Result<(), ImportError> {
    let mut after = 0;
    loop {
        let rows = pass.database.seqs(after).await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = last.user;
        pass.advance(rows.len())?;
        let users: Vec<u64> = rows.iter().map(|row| row.user).collect();
        let written = pass.database.with_entries(&users).await?;
        for row in rows {
            let user = UserId::new(row.user).filter(|_| row.user_exists);
            let Some(user) = user.filter(|_| row.seq <= MAX_ID) else {
                let key = format_args!("object_id {}", row.user);
                pass.findings.note(
                    "seq",
                    key,
                    "its user does not exist, or its seq is too large",
                )?;
                continue;
            };
            if row.seq > 0 && written.binary_search(&row.user).is_err() {
                writer.begin(user, row.seq).await?;
            }
        }
    }
}
