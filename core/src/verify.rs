//! What a check of a store at rest has found.
//!
//! Each engine reads all that it keeps and compares it with the laws, as far as they can be read from
//! what is stored; what it finds is a [`Finding`] with the law that is broken.

use std::collections::BTreeMap;

/// Findings that are kept in full; more are counted.
const KEPT: usize = 1_000;

/// A law that stored data can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Every record can be read, and what belongs together is there (law 1).
    Readable,
    /// An inbox is contiguous from its floor to its head (law 3).
    Contiguous,
    /// Keys of sends stand for an answer (law 4).
    Keys,
    /// A body is there as long as an entry or a job needs it, and no longer (law 5).
    Bodies,
    /// Fan-out jobs are whole (law 5).
    Jobs,
    /// A device that has signed in has a generation (law 7).
    Generations,
    /// An ack is not above its inbox's head (law 9).
    Acks,
    /// The store has an epoch (law 10).
    Epoch,
    /// A group's roster, count and index agree (law 11).
    Rosters,
    /// A friendship stands on both sides.
    Friends,
    /// Accounts and what leads to them agree.
    Accounts,
    /// Numbers that will be given out are above those that were.
    Counters,
}

impl Rule {
    /// The rule's name, as scripts know it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Readable => "readable",
            Self::Contiguous => "contiguous",
            Self::Keys => "keys",
            Self::Bodies => "bodies",
            Self::Jobs => "jobs",
            Self::Generations => "generations",
            Self::Acks => "acks",
            Self::Epoch => "epoch",
            Self::Rosters => "rosters",
            Self::Friends => "friends",
            Self::Accounts => "accounts",
            Self::Counters => "counters",
        }
    }
}

/// Something that breaks a law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub rule: Rule,
    /// Where: an inbox, a group, a key.
    pub place: String,
    /// What is there, and what should be.
    pub what: String,
}

/// All that a check has read and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many of each kind were read.
    pub checked: BTreeMap<&'static str, u64>,
    /// What was found, the first thousand.
    pub findings: Vec<Finding>,
    /// How many more.
    pub more: u64,
}

impl Report {
    /// Counts what was read.
    pub fn count(&mut self, kind: &'static str, n: u64) {
        *self.checked.entry(kind).or_default() += n;
    }

    /// Notes a finding.
    pub fn find(&mut self, rule: Rule, place: impl Into<String>, what: impl Into<String>) {
        if self.findings.len() == KEPT {
            self.more += 1;
            return;
        }
        self.findings.push(Finding {
            rule,
            place: place.into(),
            what: what.into(),
        });
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_bounded_and_counts_the_rest() {
        let mut report = Report::default();
        assert!(report.is_sound());
        for n in 0..KEPT + 5 {
            report.find(Rule::Acks, format!("user {n}"), "above its head");
        }
        assert_eq!((report.findings.len(), report.more), (KEPT, 5));
        report.count("entries", 2);
        report.count("entries", 3);
        assert_eq!(report.checked.get("entries"), Some(&5));
    }
}
