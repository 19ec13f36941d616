//! The cost of a fault, as a row of a table.

use std::fmt::Write as _;
use std::time::Duration;

use crate::ledger::LedgerVerdict;

/// The cost of a fault.
#[derive(Clone, Debug)]
pub struct FaultRow {
    /// Description of the fault.
    pub fault: String,
    /// Result of the check of every answered send.
    pub verdict: LedgerVerdict,
    /// Number of attempts that were answered with 14, and with 4.
    pub refused: (u64, u64),
    /// Time from the end of the outage until every user is answered, receives pushes and is
    /// complete again.
    pub recovery: Duration,
    /// Further remarks.
    pub note: String,
}

/// Formats the rows as a Markdown table.
#[must_use]
pub fn table(rows: &[FaultRow]) -> String {
    let mut text = String::from(
        "| fault | answered sends checked | entries read | lost | doubled | holes | altered or \
         swapped | misdelivered | attempts refused with 14 / 4 | served again after | |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let LedgerVerdict {
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
        written.expect("a String accepts every write");
    }
    text
}
