//! What a fault cost, as a row of a table.

use std::fmt::Write as _;
use std::time::Duration;

use crate::ledger::Verdict;

/// What a fault cost.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was done.
    pub fault: String,
    /// What came of every answered send.
    pub verdict: Verdict,
    /// Attempts that were answered with 14, and with 4.
    pub refused: (u64, u64),
    /// From the end of the outage until everybody is answered, pushed to and complete again.
    pub recovery: Duration,
    /// What else is worth knowing.
    pub note: String,
}

/// The rows as a table in markdown.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| fault | answered sends checked | entries read | lost | doubled | holes | altered or \
         swapped | misdelivered | attempts refused with 14 / 4 | served again after | |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let Verdict {
            answered,
            entries,
            lost,
            doubled,
            holes,
            altered,
            swapped,
            misdirected,
        } = row.verdict;
        let (no, unknown) = row.refused;
        let written = writeln!(
            text,
            "| {} | {answered} | {entries} | {lost} | {doubled} | {holes} | {} | {misdirected} | \
             {no} / {unknown} | {:.2} s | {} |",
            row.fault,
            altered + swapped,
            row.recovery.as_secs_f64(),
            row.note
        );
        written.expect("a text takes all");
    }
    text
}
