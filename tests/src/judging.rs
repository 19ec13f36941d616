//! The judge of `gimlet-judge` for runs over the wire.

use std::fmt;

use gimlet_judge::{DeliveryJudge, FindingKind, InboxRecord, JudgeFindings};
use gimlet_proto::pb;

/// Returns the entries of a page as the judge reads them.
pub fn records(entries: &[pb::Message]) -> impl Iterator<Item = InboxRecord<'_>> {
    entries.iter().map(|entry| InboxRecord {
        seq: entry.seq,
        message_id: &entry.message_id,
        content: &entry.message_content,
        device: entry.sender.as_ref().map_or(0, |sender| sender.device_id),
    })
}

/// Result of the check of a run.
#[derive(Clone, Debug, Default)]
pub struct RunVerdict {
    /// Number of answered sends.
    pub answered: u64,
    /// Number of checked entries, in inboxes and on live connections.
    pub entries: u64,
    /// Broken promises.
    pub findings: JudgeFindings,
}

impl RunVerdict {
    /// Returns the verdict on everything checked so far.
    #[must_use]
    pub fn of(judge: &DeliveryJudge) -> Self {
        Self {
            answered: judge.answers(),
            entries: judge.entries(),
            findings: judge.verdict(),
        }
    }

    /// Returns whether every promise was kept.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for RunVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |kind| self.findings.count(kind);
        write!(
            f,
            "{} answered sends, {} entries: {} lost, {} doubled, {} out of order, {} misdelivered, \
             {} damaged, {} holes",
            self.answered,
            self.entries,
            count(FindingKind::Dropped),
            count(FindingKind::Doubled),
            count(FindingKind::Swapped),
            count(FindingKind::Misdirected),
            count(FindingKind::Damaged),
            count(FindingKind::Hole) + count(FindingKind::Seq),
        )?;
        for line in self.findings.lines() {
            write!(f, "\n{line}")?;
        }
        Ok(())
    }
}
