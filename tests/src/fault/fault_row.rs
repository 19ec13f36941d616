//! The cost of a fault, as a row of a table.

use std::fmt::Write as _;
use std::time::Duration;

use gimlet_judge::FindingKind;

use crate::judging::RunVerdict;

/// The cost of a fault.
#[derive(Clone, Debug)]
pub struct FaultRow {
    /// Description of the fault.
    pub fault: String,
    /// Result of the check of every answered send.
    pub verdict: RunVerdict,
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
        let RunVerdict {
            answered,
            entries,
            findings,
        } = &row.verdict;
        let count =
            |kinds: &[FindingKind]| -> u64 { kinds.iter().map(|kind| findings.count(*kind)).sum() };
        let (no, unknown) = row.refused;
        let written = writeln!(
            text,
            "| {} | {answered} | {entries} | {} | {} | {} | {} | {} | {no} / {unknown} | {:.2} s | \
             {} |",
            row.fault,
            count(&[FindingKind::Dropped]),
            count(&[FindingKind::Doubled]),
            count(&[FindingKind::Hole, FindingKind::Seq]),
            count(&[FindingKind::Damaged, FindingKind::Swapped]),
            count(&[FindingKind::Misdirected]),
            row.recovery.as_secs_f64(),
            row.note
        );
        written.expect("a String accepts every write");
    }
    text
}
