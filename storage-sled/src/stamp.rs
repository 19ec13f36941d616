//! The number of the last commit that was answered, in a small file beside the database: `STAMP`.
//!
//! The database says itself how many commits it holds, but not how many it should. The stamp does: it
//! is written after a commit is durable and before it is answered, so it is never ahead of the
//! database, and a database that is behind it has lost something. It is handed to the system with each
//! commit, and synced once a second and when it is opened: after a loss of power it may be up to a
//! second older, which makes the check weaker and never wrong.
//!
//! Two slots are written in turn, each with a checksum, so that one that is torn leaves the other.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The file's name.
pub(crate) const STAMP: &str = "STAMP";
/// A slot is within one sector of any disk.
const SLOT: usize = 512;
/// How often it is synced while commits follow one another.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// What marks the rows with a commit's number, in the database's own files, as this directory's. It is
/// drawn at random, so that no message can look like one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(u64);

impl Tag {
    /// Draws a tag.
    pub(crate) fn draw() -> Self {
        // The random part of a UUIDv7 stands in its second half.
        let id = gimlet_core::id::MessageId::generate();
        let bytes = id.as_bytes().last_chunk::<8>().copied();
        Self(u64::from_be_bytes(bytes.unwrap_or_default()))
    }

    /// The value of the row of a commit, behind the first byte that every row has.
    pub(crate) fn row(self, commit: u64) -> Vec<u8> {
        let mut row = vec![crate::rows::WHOLE];
        row.extend_from_slice(&self.0.to_be_bytes());
        row.extend_from_slice(&commit.to_be_bytes());
        row
    }

    /// The number of the commit in such a row.
    pub(crate) fn commit(self, row: &[u8]) -> Option<u64> {
        row.get(1..).and_then(|row| self.find(row))
    }

    /// The last number of a commit that stands in some bytes.
    pub(crate) fn find(self, bytes: &[u8]) -> Option<u64> {
        let at = memchr::memmem::rfind(bytes, &self.0.to_be_bytes())?;
        let number = bytes.get(at + 8..)?.first_chunk::<8>()?;
        Some(u64::from_be_bytes(*number))
    }
}

/// What a stamp says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The tag of the directory.
    pub(crate) tag: Tag,
    /// The commits that the database held when it was opened.
    pub(crate) opened: u64,
    /// The last commit that was answered.
    pub(crate) answered: u64,
}

impl Mark {
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
            tag: Tag(u64::from_str_radix(fields.next()?, 16).ok()?),
            opened: fields.next()?.parse().ok()?,
            answered: fields.next()?.parse().ok()?,
        })
    }
}

/// Reads the stamp of a directory; `None` if it has none that can be read.
pub(crate) fn read(dir: &Path) -> io::Result<Option<Mark>> {
    let mut bytes = Vec::new();
    match File::open(dir.join(STAMP)) {
        Ok(mut file) => file.read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let marks = bytes.chunks(SLOT).filter_map(Mark::read);
    let last = marks.max_by_key(|mark| mark.answered);
    if last.is_none() {
        tracing::warn!(
            file = STAMP,
            "the stamp cannot be read: changes lost from the end of the database cannot be noticed at this start"
        );
    }
    Ok(last)
}

/// The stamp of an open directory. Only the writer's thread writes it.
#[derive(Debug)]
pub(crate) struct Stamp {
    file: File,
    mark: Mark,
    synced: Mutex<Instant>,
    failed: AtomicBool,
}

impl Stamp {
    /// Begins the stamp of an opened directory, durably.
    pub(crate) fn begin(dir: &Path, mark: Mark) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options
            .create(true)
            .write(true)
            .truncate(false)
            .open(dir.join(STAMP))?;
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

    /// The row of a commit.
    pub(crate) fn row(&self, commit: u64) -> Vec<u8> {
        self.mark.tag.row(commit)
    }

    /// Notes a commit that is durable. A stamp that cannot be written stays older, which makes the check
    /// weaker and never wrong, so the commit counts.
    pub(crate) fn note(&self, answered: u64) {
        let mark = Mark {
            answered,
            ..self.mark
        };
        self.tell(self.put(answered % 2, mark));
    }

    /// Syncs it, if that was not done within a second.
    pub(crate) fn sync_if_due(&self) {
        let mut synced = self
            .synced
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if synced.elapsed() >= SYNC_EVERY {
            *synced = Instant::now();
            self.tell(self.file.sync_data());
        }
    }

    fn put(&self, slot: u64, mark: Mark) -> io::Result<()> {
        self.file
            .write_all_at(mark.slot().as_bytes(), slot * SLOT as u64)
    }

    fn tell(&self, outcome: io::Result<()>) {
        if let Err(error) = outcome
            && !self.failed.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(%error, file = STAMP, "the stamp cannot be written: changes lost from the end of the database may go unnoticed");
        }
    }
}
