//! One pass over gim's database: the check, or the writing.

use std::io;

use gimlet_core::time::UnixTimestamp;

use crate::error::ImportError;
use crate::findings::RowFindings;
use crate::rows::RowTimes;
use crate::source::GimDatabase;
use crate::summary::{ImportPhase, ImportProgress, ImportSummary};
use crate::target::ImportTarget;

/// Writes that run at the same time, so that a storage can commit them together.
pub(crate) const CONCURRENCY: usize = 32;

/// Callback for the progress of an import; an error from it cancels the import.
pub type ProgressCallback<'a> = &'a mut (dyn FnMut(ImportProgress) -> io::Result<()> + Send);

/// A pass: what it reads, where it writes, and its counts.
pub(crate) struct ImportPass<'a> {
    pub(crate) database: &'a mut GimDatabase,
    /// `None` in the pass that only checks.
    pub(crate) target: Option<&'a ImportTarget>,
    pub(crate) findings: RowFindings<'a>,
    pub(crate) summary: ImportSummary,
    pub(crate) progress: ProgressCallback<'a>,
    pub(crate) rows: u64,
}

impl ImportPass<'_> {
    /// Notes that this many rows were read.
    pub(crate) fn advance(&mut self, rows: usize) -> Result<(), ImportError> {
        self.rows += rows as u64;
        let phase = match self.target {
            None => ImportPhase::Check,
            Some(_) => ImportPhase::Write,
        };
        let progress = ImportProgress {
            phase,
            rows: self.rows,
        };
        (self.progress)(progress).map_err(ImportError::Cancelled)
    }
}

/// Times of a row; a date that MySQL cannot calculate with counts as 1970.
pub(crate) fn times(row: RowTimes) -> (UnixTimestamp, UnixTimestamp) {
    let created = UnixTimestamp(row.created.unwrap_or_default().max(0));
    let updated = UnixTimestamp(row.updated.unwrap_or_default()).max(created);
    (created, updated)
}
