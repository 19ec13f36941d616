//! Counts of an import, and its progress.

use crate::generation::GimGeneration;

/// Counts of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportSummary {
    /// The generation of gim's schema.
    pub generation: GimGeneration,
    /// Users.
    pub users: u64,
    /// Devices.
    pub devices: u64,
    /// Rows of friends and of open requests.
    pub friends: u64,
    /// Groups.
    pub groups: u64,
    /// Members of all groups.
    pub members: u64,
    /// Inboxes with a message or a seq.
    pub inboxes: u64,
    /// Messages in all inboxes.
    pub messages: u64,
    /// Seqs without a message, which got one without content.
    pub filled: u64,
    /// Rows that were not imported.
    pub broken: u64,
}

impl ImportSummary {
    pub(crate) const fn new(generation: GimGeneration) -> Self {
        Self {
            generation,
            users: 0,
            devices: 0,
            friends: 0,
            groups: 0,
            members: 0,
            inboxes: 0,
            messages: 0,
            filled: 0,
            broken: 0,
        }
    }
}

/// Passes over gim's database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportPhase {
    /// Every row is checked, and nothing is written.
    Check,
    /// The rows are written.
    Write,
}

/// Progress of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportProgress {
    /// The pass.
    pub phase: ImportPhase,
    /// Rows read in this pass.
    pub rows: u64,
}
