//! The number of the last answered commit, in a small file beside the database: `STAMP`.
//!
//! The database records how many commits it holds, but not how many it should hold. The stamp
//! records that. It is written after a commit is durable and before the commit is answered, so it
//! is never ahead of the database, and a database that is behind its stamp has lost commits. The
//! stamp is handed to the system with each commit, and synced once a second and at opening. After a
//! loss of power it may be up to a second older, which makes the check weaker but never wrong.
//!
//! Two slots are written alternately, each with a checksum, so that a torn write leaves the other
//! slot valid.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Name of the file.
pub(crate) const STAMP_FILE: &str = "STAMP";
/// Bytes of a slot: within one sector of any disk.
const SLOT_BYTES: usize = 512;
/// Interval between syncs while commits follow one another.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Marks the rows that hold a commit's number as written by this directory. Drawn at random, so
/// that no message content can look like such a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommitTag(u64);

impl CommitTag {
    /// Draws a random tag.
    pub(crate) fn draw() -> Self {
        // The last 8 bytes of a UUIDv7 are its random part.
        let id = gimlet_core::id::MessageId::generate();
        let bytes = id.as_bytes().last_chunk::<8>().copied();
        Self(u64::from_be_bytes(bytes.unwrap_or_default()))
    }

    /// Builds the value of a commit's row, including the first byte that every row has.
    pub(crate) fn row(self, commit: u64) -> Vec<u8> {
        let mut row = vec![crate::rows::SINGLE_ROW];
        row.extend_from_slice(&self.0.to_be_bytes());
        row.extend_from_slice(&commit.to_be_bytes());
        row
    }

    /// Returns the commit number in such a row.
    pub(crate) fn commit(self, row: &[u8]) -> Option<u64> {
        row.get(1..).and_then(|row| self.find(row))
    }

    /// Returns the last commit number in some bytes of the log.
    pub(crate) fn find(self, bytes: &[u8]) -> Option<u64> {
        let at = memchr::memmem::rfind(bytes, &self.0.to_be_bytes())?;
        let number = bytes.get(at + 8..)?.first_chunk::<8>()?;
        Some(u64::from_be_bytes(*number))
    }
}

/// Content of a stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StampRecord {
    /// The tag of the directory.
    pub(crate) tag: CommitTag,
    /// Number of the last commit in the database when it was opened.
    pub(crate) opened: u64,
    /// Number of the last commit that was answered.
    pub(crate) answered: u64,
}

impl StampRecord {
    fn slot(self) -> String {
        let Self {
            tag,
            opened,
            answered,
        } = self;
        let text = format!(
            "gimlet tag={:016x} opened={opened:020} answered={answered:020}",
            tag.0
        );
        let checksum = crc32fast::hash(text.as_bytes());
        format!("{text} crc={checksum:08x}\n")
    }

    fn read(slot: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(slot).ok()?.lines().next()?;
        let (text, checksum) = line.split_once(" crc=")?;
        let wanted = u32::from_str_radix(checksum.get(..8)?, 16).ok()?;
        if crc32fast::hash(text.as_bytes()) != wanted {
            return None;
        }
        let mut fields = text
            .split(' ')
            .skip(1)
            .map(|it| it.split_once('=').unwrap_or_default().1);
        Some(Self {
            tag: CommitTag(u64::from_str_radix(fields.next()?, 16).ok()?),
            opened: fields.next()?.parse().ok()?,
            answered: fields.next()?.parse().ok()?,
        })
    }
}

/// Reads the stamp of a directory. Returns `None` if there is none, or none that can be read.
pub(crate) fn read(dir: &Path) -> io::Result<Option<StampRecord>> {
    let mut bytes = Vec::new();
    match File::open(dir.join(STAMP_FILE)) {
        Ok(mut file) => file.read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let marks = bytes.chunks(SLOT_BYTES).filter_map(StampRecord::read);
    let last = marks.max_by_key(|mark| mark.answered);
    if last.is_none() {
        tracing::warn!(
            file = STAMP_FILE,
            "the stamp cannot be read: changes lost from the end of the database cannot be noticed at this start"
        );
    }
    Ok(last)
}

/// The stamp of an open directory. Only the writer's thread writes it.
#[derive(Debug)]
pub(crate) struct CommitStamp {
    file: File,
    mark: StampRecord,
    synced: Mutex<Instant>,
    failed: AtomicBool,
}

impl CommitStamp {
    /// Writes the stamp of a directory that is being opened, durably.
    pub(crate) fn begin(dir: &Path, mark: StampRecord) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options
            .create(true)
            .write(true)
            .truncate(false)
            .open(dir.join(STAMP_FILE))?;
        let stamp = Self {
            file,
            mark,
            synced: Mutex::new(Instant::now()),
            failed: AtomicBool::new(false),
        };
        for slot in 0..2 {
            stamp.put(slot, mark)?;
        }
        stamp.file.sync_all()?;
        Ok(stamp)
    }

    /// Builds the row of a commit.
    pub(crate) fn row(&self, commit: u64) -> Vec<u8> {
        self.mark.tag.row(commit)
    }

    /// Records a durable commit. If the write fails, the stamp stays older, which makes the check
    /// weaker but never wrong, so the commit still counts.
    pub(crate) fn note(&self, answered: u64) {
        let mark = StampRecord {
            answered,
            ..self.mark
        };
        // Alternating slots: a torn write leaves the record of the commit before it.
        self.tell(self.put(answered % 2, mark));
    }

    /// Syncs the file if the last sync is more than a second ago.
    pub(crate) fn sync_if_due(&self) {
        let mut synced = self
            .synced
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if synced.elapsed() >= SYNC_INTERVAL {
            *synced = Instant::now();
            self.tell(self.file.sync_data());
        }
    }

    fn put(&self, slot: u64, mark: StampRecord) -> io::Result<()> {
        self.file
            .write_all_at(mark.slot().as_bytes(), slot * SLOT_BYTES as u64)
    }

    fn tell(&self, outcome: io::Result<()>) {
        if let Err(error) = outcome
            && !self.failed.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(%error, file = STAMP_FILE, "the stamp cannot be written: changes lost from the end of the database may go unnoticed");
        }
    }
}
