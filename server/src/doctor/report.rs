//! The findings of an examination.

use std::fmt;

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingLevel {
    /// The thing is as it should be.
    Fine,
    /// gimlet works, and something should be changed.
    Warning,
    /// gimlet does not work, or not as it promises.
    Problem,
}

impl FindingLevel {
    /// Returns the word that people and scripts read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// A finding about one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoctorFinding {
    /// Severity.
    pub level: FindingLevel,
    /// The examined thing, in one or two words.
    pub topic: &'static str,
    /// The finding; for a warning or a problem, it ends with the remedy.
    pub text: String,
}

/// All findings, in the order of the examinations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoctorReport {
    /// The findings.
    pub findings: Vec<DoctorFinding>,
}

impl DoctorReport {
    /// Adds that a thing is as it should be.
    pub(super) fn fine(&mut self, topic: &'static str, text: impl Into<String>) {
        self.add(FindingLevel::Fine, topic, text.into());
    }

    /// Adds a thing that should be changed.
    pub(super) fn warn(&mut self, topic: &'static str, text: impl Into<String>) {
        self.add(FindingLevel::Warning, topic, text.into());
    }

    /// Adds a thing that must be changed.
    pub(super) fn problem(&mut self, topic: &'static str, text: impl Into<String>) {
        self.add(FindingLevel::Problem, topic, text.into());
    }

    fn add(&mut self, level: FindingLevel, topic: &'static str, text: String) {
        self.findings.push(DoctorFinding { level, topic, text });
    }

    /// Returns the number of findings of a severity.
    #[must_use]
    pub fn count(&self, level: FindingLevel) -> usize {
        self.findings.iter().filter(|it| it.level == level).count()
    }
}

impl fmt::Display for DoctorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for DoctorFinding { level, topic, text } in &self.findings {
            writeln!(f, "{:<8} {topic}: {text}", level.name())?;
        }
        let (problems, warnings) = (
            self.count(FindingLevel::Problem),
            self.count(FindingLevel::Warning),
        );
        write!(f, "{problems} problems, {warnings} warnings")
    }
}
