//! Storages that are built beside their place, and appear there when they are complete.
//!
//! A draft is an open storage in the directory `restoring` of an empty target, as the rows of a
//! restore are. So gimlet refuses to open the target until the draft has been settled, and an
//! import that was interrupted at any step is noticed.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use gimlet_core::time::TimeSource;

use crate::backup::BackupError;
use crate::backup::restore::{make_empty, open_once, settle, sync_all};
use crate::config::{Config, DurabilityLevel};
use crate::files::{FORMAT_FILE, LOCK_FILE, RESTORING};
use crate::open::OpenStorage;

/// A storage that is being built.
#[derive(Debug)]
pub struct StorageDraft {
    config: Config,
    draft: PathBuf,
}

impl StorageDraft {
    /// Begins a storage in the empty directory of the configuration. It blocks. Its changes are
    /// synced only by [`finish`](Self::finish): a draft that loses power is thrown away.
    ///
    /// # Errors
    /// [`BackupError::NotEmpty`] if the directory holds something.
    pub fn begin(
        config: &Config,
        clock: Arc<dyn TimeSource>,
    ) -> Result<(Self, OpenStorage), BackupError> {
        make_empty(&config.dir)?;
        let draft = config.dir.join(RESTORING);
        fs::create_dir(&draft)?;
        let this = Self {
            config: config.clone(),
            draft: draft.clone(),
        };
        let unsynced = Config {
            dir: draft,
            durability: DurabilityLevel::Process,
            ..config.clone()
        };
        match crate::open(&unsynced, clock) {
            Ok(opened) => Ok((this, opened)),
            Err(error) => {
                this.abandon();
                Err(error.into())
            }
        }
    }

    /// Moves the storage to its place. It must be closed before. It blocks, and must not be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// The directory could not be written; it does not open then.
    pub fn finish(self) -> Result<(), BackupError> {
        // The format marks a complete directory and is written last; the lock is the target's.
        for file in [FORMAT_FILE, LOCK_FILE] {
            fs::remove_file(self.draft.join(file))?;
        }
        // Before the files are moved: only durable files may get their final names.
        sync_all(&self.draft)?;
        settle(&self.config.dir, &self.draft)?;
        open_once(&self.config)
    }

    /// Removes the storage: the directory is empty again. It must be closed before.
    pub fn abandon(self) {
        // Without it the directory does not open either; the user is told to remove it.
        let _ = fs::remove_dir_all(&self.draft);
    }
}
