//! Findings of a check of a store at rest.
//!
//! Each engine reads all its data and compares it with those laws that can be verified from stored
//! data; each violation is a [`VerifyFinding`] with its rule.

use std::collections::BTreeMap;

/// Largest number of findings kept in full; further ones are only counted.
const MAX_FINDINGS: usize = 1_000;

/// A law that stored data can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VerifyRule {
    /// Every record can be read, and related records are complete (law 1).
    Readable,
    /// An inbox is contiguous from its floor to its head (law 3).
    Contiguous,
    /// Every idempotency key of a send has its stored answer (law 4).
    Keys,
    /// A body exists exactly while an entry or a job needs it (law 5).
    Bodies,
    /// Fan-out jobs are complete (law 5).
    Jobs,
    /// A device that has signed in has a generation (law 7).
    Generations,
    /// An ack is not above its inbox's head (law 9).
    Acks,
    /// The store has an epoch (law 10).
    Epoch,
    /// A group's roster, count and index agree (law 11).
    Rosters,
    /// A friendship is recorded for both users.
    Friends,
    /// Accounts and their indexes agree.
    Accounts,
    /// A push address belongs to one user on one device.
    PushTokens,
    /// The next number of each counter is above all numbers in use.
    Counters,
}

impl VerifyRule {
    /// Returns the rule's name for scripts.
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
            Self::PushTokens => "push-tokens",
            Self::Counters => "counters",
        }
    }
}

/// A violation of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyFinding {
    /// The rule.
    pub rule: VerifyRule,
    /// The location: an inbox, a group, a key.
    pub location: String,
    /// The stored and the expected state.
    pub what: String,
}

/// Result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Number of records read, by kind.
    pub checked: BTreeMap<&'static str, u64>,
    /// The findings, up to a thousand.
    pub findings: Vec<VerifyFinding>,
    /// Number of further findings.
    pub more: u64,
}

impl VerifyReport {
    /// Adds to the number of records read.
    pub fn count(&mut self, kind: &'static str, n: u64) {
        *self.checked.entry(kind).or_default() += n;
    }

    /// Records a finding.
    pub fn find(&mut self, rule: VerifyRule, place: impl Into<String>, what: impl Into<String>) {
        if self.findings.len() == MAX_FINDINGS {
            self.more += 1;
            return;
        }
        self.findings.push(VerifyFinding {
            rule,
            location: place.into(),
            what: what.into(),
        });
    }

    /// Returns `true` if nothing was found.
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
        let mut report = VerifyReport::default();
        assert!(report.is_sound());
        for n in 0..MAX_FINDINGS + 5 {
            report.find(VerifyRule::Acks, format!("user {n}"), "above its head");
        }
        assert_eq!((report.findings.len(), report.more), (MAX_FINDINGS, 5));
        report.count("entries", 2);
        report.count("entries", 3);
        assert_eq!(report.checked.get("entries"), Some(&5));
    }
}
