//! Settings of a data directory. Plain data: the server fills it from its own settings.

use std::path::PathBuf;

use gimlet_core::memory::RoomBounds;

/// Events that an answered change survives: the meaning of "stored".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DurabilityLevel {
    /// A loss of power: every file that was written is synced (`fsync`) before the answer.
    #[default]
    Power,
    /// A killed process: everything is handed to the operating system before the answer.
    Process,
}

/// Treatment of a data directory that lacks answered changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HistoryMode {
    /// Keeps the epoch. With [`DurabilityLevel::Power`] a directory that lacks answered changes is
    /// refused; with [`DurabilityLevel::Process`] it is opened under a new epoch.
    #[default]
    Keep,
    /// Draws a new epoch and continues with the data that is there; clients start over.
    New,
}

/// Settings to open a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The directory; created if it is missing. One process at a time can have it open.
    pub dir: PathBuf,
    /// Events that an answered change survives.
    pub durability: DurabilityLevel,
    /// Bytes of sled's page cache, counted as stored pages; in memory the cache takes up to ten
    /// times that.
    pub cache_bytes: u64,
    /// Bytes that stay free on the disk. Below it, changes that add data are refused as full, and
    /// reads go on. Small changes (sign-ins, acks) are refused below a quarter of it.
    pub min_free: u64,
    /// Treatment of a directory that lacks answered changes.
    pub history: HistoryMode,
    /// Commands that may wait for the writer; further callers wait for space in the queue.
    pub queue: usize,
    /// Bounds of the in-memory room history.
    pub room: RoomBounds,
}

impl Config {
    /// Returns the defaults for a directory: `power`, 256 MiB of cache, 256 MiB kept free.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            durability: DurabilityLevel::Power,
            cache_bytes: 256 << 20,
            min_free: 256 << 20,
            history: HistoryMode::Keep,
            queue: 1_024,
            room: RoomBounds::default(),
        }
    }
}
