//! What a data directory is opened with. Plain data: the server fills it from its own settings.

use std::path::PathBuf;

use gimlet_core::memory::RoomBounds;

/// What "stored" means: what an answered change survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A loss of power: every file that was written is synced (`fsync`) before the answer.
    #[default]
    Power,
    /// A killed process: everything is handed to the operating system before the answer.
    Process,
}

/// Whether a data directory's history goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum History {
    /// It goes on; a directory that lacks changes that were answered is refused.
    #[default]
    Keep,
    /// A new one begins with what is there: a new epoch is drawn, and clients start over.
    New,
}

/// How to open a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The directory; made if it is missing. One process at a time can have it open.
    pub dir: PathBuf,
    /// What an answered change survives.
    pub durability: Durability,
    /// Bytes of sled's page cache, counted as pages are stored; in memory it takes up to ten times that.
    pub cache_bytes: u64,
    /// Bytes that stay free on the disk: below it whatever adds data is refused as full, and reads
    /// go on. Small changes (sign-ins, acks) are refused below a quarter of it.
    pub min_free: u64,
    /// Whether the history goes on as it is.
    pub history: History,
    /// Commands that may wait for the writer; more wait for a place.
    pub queue: usize,
    /// What rooms keep, in memory.
    pub room: RoomBounds,
}

impl Config {
    /// The defaults for a directory: `power`, 256 MiB of cache, 256 MiB kept free.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            durability: Durability::Power,
            cache_bytes: 256 << 20,
            min_free: 256 << 20,
            history: History::Keep,
            queue: 1_024,
            room: RoomBounds::default(),
        }
    }
}
