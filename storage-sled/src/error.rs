//! What can go wrong: at opening, said in words for an operator, and later, as a fault that every
//! call turns into a [`StoreError`].

use std::io;
use std::path::PathBuf;

use gimlet_core::store::{Kind, StoreError};

/// Why a data directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "the data directory {dir} is in use by another process{holder}: stop it, or choose another \
         directory (one process, one directory)"
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// " (process 123)", if the lock says so.
        holder: String,
    },
    /// It cannot be made, read or written.
    #[error(
        "the data directory {dir} cannot be used: {source}; check that it exists, is writable and has free space"
    )]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path names something else.
    #[error("{dir} is not a directory: choose a directory for the data")]
    NotADirectory {
        /// The path.
        dir: PathBuf,
    },
    /// It was made by a version of gimlet with another layout.
    #[error(
        "the data directory {dir} has format {found}, and this version of gimlet reads format \
         {ours}: run the version that made it, or choose another directory"
    )]
    Format {
        /// The directory.
        dir: PathBuf,
        /// The format it says it has.
        found: String,
        /// The format this version reads.
        ours: u32,
    },
    /// It holds a sled database that gimlet did not make.
    #[error(
        "the data directory {dir} holds a sled database without gimlet's FORMAT file: it was not made by gimlet, or the file was removed; choose another directory, or restore from a backup"
    )]
    Foreign {
        /// The directory.
        dir: PathBuf,
    },
    /// It lacks changes that were answered.
    #[error(
        "the data directory {dir} lacks changes that were answered: its database ends at commit {found}, and \
         commit {answered} was answered. Restore a backup, or run `gimlet new-epoch` to go on with what is there: \
         clients then start over"
    )]
    Lost {
        /// The directory.
        dir: PathBuf,
        /// The last commit of the database.
        found: u64,
        /// The last commit that was answered.
        answered: u64,
    },
    /// Its content makes no sense.
    #[error(
        "the data directory {dir} is damaged ({what}): nothing was changed; restore it from a backup, or move it away to start anew"
    )]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// What was found.
        what: String,
    },
}

/// Why a call failed, before it is known which call it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// sled gave up: nothing more is asked of it.
    #[error("sled")]
    Sled(#[from] sled::Error),
    /// The storage has failed before.
    #[error("the storage has failed: {0}")]
    Failed(String),
    /// A record that cannot be what was written.
    #[error("{0}")]
    Corrupt(&'static str),
    /// A record that cannot be decoded.
    #[error("a record cannot be decoded")]
    Decode(#[from] prost::DecodeError),
    /// A stored message that cannot be decoded.
    #[error("a stored message cannot be decoded")]
    Message(#[from] gimlet_record::DecodeError),
    /// The caller's mistake.
    #[error("{0}")]
    Misuse(&'static str),
    /// Too little free space.
    #[error("{free} bytes are free on the disk, and {needed} are kept free")]
    Full {
        /// What is free.
        free: u64,
        /// What must stay free.
        needed: u64,
    },
    /// The commit failed half-way.
    #[error("the commit failed: {0}")]
    Unknown(String),
}

impl Fault {
    /// The fault of this operation, as the caller sees it.
    pub(crate) fn of(self, op: &'static str) -> StoreError {
        let kind = match &self {
            Self::Sled(_) | Self::Failed(_) => Kind::Unavailable,
            Self::Corrupt(_) | Self::Decode(_) | Self::Message(_) => Kind::Corrupt,
            Self::Misuse(_) => Kind::Misuse,
            Self::Full { .. } => Kind::Full,
            Self::Unknown(_) => Kind::Unknown,
        };
        StoreError::with(op, kind, self)
    }
}
