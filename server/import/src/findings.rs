//! Rows that cannot be imported: counted, and listed line by line.

use std::fmt;
use std::io::Write;

use crate::error::ImportError;

/// The rows of a pass that cannot be imported. Only the first is kept; all of them go to the
/// report, if there is one.
pub(crate) struct RowFindings<'a> {
    rows: u64,
    first: Option<String>,
    report: Option<&'a mut (dyn Write + Send)>,
}

impl<'a> RowFindings<'a> {
    pub(crate) fn new(report: Option<&'a mut (dyn Write + Send)>) -> Self {
        Self {
            rows: 0,
            first: None,
            report,
        }
    }

    /// Notes a row: its table, its key, and the reason.
    pub(crate) fn note(
        &mut self,
        table: &str,
        key: impl fmt::Display,
        what: impl fmt::Display,
    ) -> Result<(), ImportError> {
        self.rows += 1;
        let line = format!("{table}, {key}: {what}");
        if let Some(report) = &mut self.report {
            writeln!(report, "{line}").map_err(ImportError::Report)?;
        }
        self.first.get_or_insert(line);
        Ok(())
    }

    /// Ends the pass: returns the number of rows and the first one.
    pub(crate) fn end(self) -> Result<(u64, Option<String>), ImportError> {
        if let Some(report) = self.report {
            report.flush().map_err(ImportError::Report)?;
        }
        Ok((self.rows, self.first))
    }
}
