//! Backups: one file that holds a whole storage as of one moment, made while it is in use, and put
//! back with an epoch of its own.
//!
//! sled has no snapshot that can be read while others write. So a backup of a storage in use is a
//! walk over the tree that does not stop the writer, together with every commit that became durable
//! since the walk began, in the order in which both were read ([`capture`]). Read back in that order,
//! later rows replace earlier ones, and what results is the state after the last commit in it: every
//! row that did not change was read as it is, and every one that did is in a commit behind.

mod capture;
mod export;
mod format;
mod restore;

pub(crate) use capture::Captures;
pub use export::{Exported, Exporter, export_closed};
pub use format::{Frame, Reader, Writer};
pub use restore::{Restored, restore};

use std::io;
use std::path::PathBuf;

use crate::error::OpenError;

/// Why a backup was not made, or not put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file, or the way to it, failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The data directory cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file is not a whole backup.
    #[error("the backup is damaged ({0}): nothing was restored; take another one")]
    Damaged(String),
    /// The process that made it says why it gave up.
    #[error("the backup was given up: {0}")]
    GivenUp(String),
    /// The storage failed while it was read.
    #[error("the storage could not be read: {0}")]
    Storage(String),
    /// Commits came faster than they were written to the backup.
    #[error(
        "the backup fell behind by {behind} bytes of new commits and was given up; write it to a faster \
         disk, or at a quieter time"
    )]
    Behind {
        /// Bytes that waited.
        behind: usize,
    },
    /// Another backup is being made.
    #[error("another backup of this storage is being made; wait for it")]
    Busy,
    /// The storage was closed.
    #[error("the storage was closed meanwhile")]
    Closed,
    /// There is something where the backup should be put.
    #[error(
        "{dir} is not empty: move it away, or name another directory; a backup is restored into an \
         empty one"
    )]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
}
