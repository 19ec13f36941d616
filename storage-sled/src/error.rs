//! Errors: those of opening, worded for an operator, and the internal errors that every call turns
//! into a [`StoreError`].

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use gimlet_core::store::{StoreError, StoreErrorKind};

/// Reasons a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the directory open.
    #[error(
        "the data directory {dir} is in use by another process{holder}: stop it, or choose another \
         directory (one process, one directory)"
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// " (process 123)" if the lock file names a process, else empty.
        holder: String,
    },
    /// The directory cannot be created, read or written.
    #[error(
        "the data directory {dir} cannot be used: {source}; check that it exists, is writable and has free space"
    )]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The path exists and is not a directory.
    #[error("{dir} is not a directory: choose a directory for the data")]
    NotADirectory {
        /// The path.
        dir: PathBuf,
    },
    /// A version of gimlet with another layout created the directory.
    #[error(
        "the data directory {dir} has format {found}, and this version of gimlet reads format \
         {ours}: run the version that made it, or choose another directory"
    )]
    Format {
        /// The directory.
        dir: PathBuf,
        /// The format that the directory declares.
        found: String,
        /// The format that this version reads.
        ours: u32,
    },
    /// The directory holds a sled database that gimlet did not create.
    #[error(
        "the data directory {dir} holds a sled database without gimlet's FORMAT file: it was not made by gimlet, or the file was removed; choose another directory, or restore from a backup"
    )]
    Foreign {
        /// The directory.
        dir: PathBuf,
    },
    /// A restore or an import into the directory has not ended.
    #[error(
        "the data directory {dir} holds an unfinished restore or import: wait until `gimlet restore` or \
         `gimlet import` has ended; if it was interrupted, remove the directory and run it again"
    )]
    Unfinished {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory lacks changes that callers were told are stored.
    #[error(
        "the data directory {dir} lacks changes that were answered: its database ends at commit {found}, and \
         commit {answered} was answered. Restore a backup, or run `gimlet new-epoch` to go on with what is there: \
         clients then start over"
    )]
    Lost {
        /// The directory.
        dir: PathBuf,
        /// The last commit in the database.
        found: u64,
        /// The last commit whose callers were told that it is stored.
        answered: u64,
    },
    /// The content of the directory is inconsistent.
    #[error(
        "the data directory {dir} is damaged ({what}): nothing was changed; restore it from a backup, or move it away to start anew"
    )]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// The inconsistency that was found.
        what: String,
    },
}

/// Reasons a call failed, before the name of the operation is added.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// sled failed.
    #[error("sled")]
    Sled(#[from] sled::Error),
    /// The storage failed earlier, and takes no more calls until a restart.
    #[error("the storage has failed: {0}")]
    Failed(String),
    /// A stored record is inconsistent.
    #[error("{0}")]
    Corrupt(&'static str),
    /// A record that cannot be decoded.
    #[error("a record cannot be decoded")]
    Decode(#[from] prost::DecodeError),
    /// A stored message that cannot be decoded.
    #[error("a stored message cannot be decoded")]
    Message(#[from] gimlet_record::DecodeError),
    /// The caller broke the contract.
    #[error("{0}")]
    Misuse(&'static str),
    /// The disk has too little free space.
    #[error("{free} bytes are free on the disk, and {needed} are kept free")]
    Full {
        /// Bytes that are free.
        free: u64,
        /// Bytes that must stay free.
        needed: u64,
    },
    /// The commit failed half-way: the change may or may not be on disk.
    #[error("the commit failed: {0}")]
    Unknown(String),
}

impl EngineError {
    /// Converts the error into the store error of this operation.
    pub(crate) fn of(self, op: &'static str) -> StoreError {
        let kind = match &self {
            Self::Sled(_) | Self::Failed(_) => StoreErrorKind::Unavailable,
            Self::Corrupt(_) | Self::Decode(_) | Self::Message(_) => StoreErrorKind::Corrupt,
            Self::Misuse(_) => StoreErrorKind::Misuse,
            Self::Full { .. } => StoreErrorKind::Full,
            Self::Unknown(_) => StoreErrorKind::Unknown,
        };
        StoreError::with(op, kind, self)
    }
}

/// Formats an error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {cause}");
        next = cause.source();
    }
    text
}
