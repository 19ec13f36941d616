//! Operators' tools for a storage: back it up, restore a backup, begin a new history, check it.
//!
//! Serves the command line; each tool is one function that blocks. An embedded storage in use is
//! reached through the process that has it open (`control`); a closed one is opened here.

mod api_keys;
#[cfg(all(unix, feature = "sled"))]
mod backup;
mod epoch;
#[cfg(feature = "mysql")]
mod import;
mod operator;
mod verify;

use std::io;
use std::path::PathBuf;

pub use api_keys::StoredApiKeys;
#[cfg(all(unix, feature = "sled"))]
pub use backup::{backup, restore};
pub use epoch::new_epoch;
#[cfg(feature = "mysql")]
pub use import::{ImportStorage, ImportedStores};
pub use operator::operator_access;
pub use verify::verify;

pub use crate::operator_access::{OperatorAccess, api_url, ops_url};

use crate::config::StorageKind;

/// Callback for the progress of a tool; an error from it cancels the tool.
pub type ProgressCallback<'a> = &'a mut dyn FnMut(ToolProgress) -> io::Result<()>;

/// Progress of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolProgress {
    /// Bytes of the backup so far.
    Bytes(u64),
    /// Rows read so far.
    Rows(u64),
    /// Number of the current query, and number of all.
    Question(u64, u64),
}

/// Result of a backup or a restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupSummary {
    /// Bytes of the backup.
    pub bytes: u64,
    /// Rows.
    pub rows: u64,
    /// Uploaded files.
    pub files: u64,
    /// The new epoch of a restore.
    pub epoch: Option<u64>,
    /// `true` if the storage was in use.
    pub live: bool,
}

/// Reasons a tool failed.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The storage of the configuration does not have this tool.
    #[error("{0}")]
    Kind(String),
    /// A running gimlet has the embedded storage of this directory open.
    #[error(
        "a running gimlet has the data directory {} open: give an API key with the scope admin \
         (GIMLET_API_KEY or --api-key-file), or stop that gimlet first",
        .0.display()
    )]
    InUse(PathBuf),
    /// The running gimlet refused.
    #[error("the running gimlet refused: {0}")]
    Refused(String),
    /// The backup or the storage failed.
    #[cfg(all(unix, feature = "sled"))]
    #[error(transparent)]
    Backup(#[from] gimlet_storage_sled::BackupError),
    /// MySQL failed.
    #[cfg(feature = "mysql")]
    #[error(transparent)]
    Mysql(#[from] gimlet_storage_mysql::OpenError),
    /// The storage failed.
    #[error("the storage failed: {0}")]
    Store(String),
    /// A file, or the connection to the running gimlet, failed.
    #[error("{what}: {source}")]
    Io {
        /// The operation.
        what: String,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl ToolError {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

impl From<gimlet_core::store::StoreError> for ToolError {
    fn from(error: gimlet_core::store::StoreError) -> Self {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(next) = cause {
            text = format!("{text}: {next}");
            cause = next.source();
        }
        Self::Store(text)
    }
}

/// Returns the name of a kind of storage, as the configuration spells it.
const fn kind(kind: StorageKind) -> &'static str {
    match kind {
        StorageKind::Memory => "memory",
        StorageKind::Sled => "sled",
        StorageKind::Mysql => "mysql",
    }
}
