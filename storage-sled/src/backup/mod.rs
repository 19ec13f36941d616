//! Backups: one file that holds a whole storage as of one moment. A backup is made while the
//! storage is in use, and restored under an epoch of its own.
//!
//! sled has no snapshot that can be read while others write. So a backup of a storage in use
//! consists of a walk over the tree, which does not stop the writer, and every commit that became
//! durable since the walk began, in the order in which both were read ([`crate::capture`]). A restore
//! applies them in that order, so later rows replace earlier ones. The result is the state after
//! the last commit in the backup: the walk read every unchanged row as it is, and every changed row
//! is in a later commit.

mod export;
mod format;
pub(crate) mod restore;

pub use export::{BackupExporter, ExportProgress, export_closed};
pub use format::{BackupFrame, BackupReader, BackupWriter};
pub use restore::{RestoreSummary, restore};

use std::io;
use std::path::PathBuf;

use crate::error::OpenError;

/// Reasons a backup was not made, or not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Reading or writing the file failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The data directory cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file is not a complete backup.
    #[error("the backup is damaged ({0}): nothing was restored; take another one")]
    Damaged(String),
    /// The process that wrote the backup stopped early; it gives the reason.
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
    /// The directory to restore or to import into is not empty.
    #[error(
        "{dir} is not empty: move it away, or name another directory; a restore and an import need \
         an empty one"
    )]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
}
