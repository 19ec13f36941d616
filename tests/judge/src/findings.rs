//! Findings of the judge: the number of each kind, and the first few in words.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Kind of defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Answered, but never delivered.
    Dropped,
    /// Delivered twice to one connection.
    Doubled,
    /// Delivered after a message that was sent later.
    Swapped,
    /// Delivered to a connection that must not get it, or with a wrong sender or receiver; or
    /// answered on a wrong connection.
    Misdirected,
    /// Content that differs from the sent one.
    Damaged,
    /// Message of another run.
    Foreign,
    /// Refused as not stored, but delivered.
    Refused,
    /// Never answered.
    Unanswered,
    /// Seq that does not rise.
    Seq,
    /// Seq that no connection got.
    Hole,
    /// Connection that the server closed, or a packet that cannot be right.
    Connection,
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dropped => "dropped",
            Self::Doubled => "doubled",
            Self::Swapped => "swapped",
            Self::Misdirected => "misdirected",
            Self::Damaged => "damaged",
            Self::Foreign => "of another run",
            Self::Refused => "refused and delivered",
            Self::Unanswered => "unanswered",
            Self::Seq => "seq not rising",
            Self::Hole => "hole in an inbox",
            Self::Connection => "connection",
        })
    }
}

/// Examples kept of each kind.
const EXAMPLES: usize = 3;

/// All findings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgeFindings {
    kinds: BTreeMap<FindingKind, (u64, Vec<String>)>,
}

impl JudgeFindings {
    /// Adds a finding; `text` is called only while examples are kept.
    pub fn add(&mut self, finding: FindingKind, text: impl FnOnce() -> String) {
        let (count, examples) = self.kinds.entry(finding).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(text());
        }
    }

    /// Returns true if nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Returns the number of kinds.
    #[must_use]
    pub fn kinds(&self) -> usize {
        self.kinds.len()
    }

    /// Returns the number of findings of a kind.
    #[must_use]
    pub fn count(&self, finding: FindingKind) -> u64 {
        self.kinds.get(&finding).map_or(0, |kind| kind.0)
    }

    /// Adds the findings of another judge of the same run.
    pub fn merge(&mut self, other: Self) {
        for (finding, (count, examples)) in other.kinds {
            let kind = self.kinds.entry(finding).or_default();
            kind.0 += count;
            let room = EXAMPLES.saturating_sub(kind.1.len());
            kind.1.extend(examples.into_iter().take(room));
        }
    }

    /// Formats one line for each kind.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let line = |(kind, (count, examples)): (&FindingKind, &(u64, Vec<String>))| {
            format!("{count} {kind}: {}", examples.join("; "))
        };
        self.kinds.iter().map(line).collect()
    }
}
