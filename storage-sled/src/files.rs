//! The files of a data directory: the lock, the format, and syncing what sled writes.
//!
//! sled's own flush hands its pages to the drive (`sync_file_range`) but syncs neither the file's
//! size nor the drive's cache, and never the files in `blobs/` or the directories. So for
//! [`Durability::Power`](crate::Durability) every commit ends with an `fsync` of our own handle of
//! `db` (which works on the file, whoever wrote it), and of any file that has appeared in `blobs/`.
//! Snapshots and `conf` are written while sled opens, and are synced right after.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Dir, fsync};

use crate::error::OpenError;
use crate::system::patiently;

/// The layout this version reads and writes.
pub(crate) const FORMAT: u32 = 2;

const FORMAT_FILE: &str = "FORMAT";
const FORMAT_DRAFT: &str = "FORMAT.new";
const FORMAT_NAME: &str = "gimlet-storage-sled";
const LOCK_FILE: &str = "LOCK";
pub(crate) const DB: &str = "db";
const BLOBS: &str = "blobs";

/// Makes the directory and takes its lock, which is held as long as the file lives.
pub(crate) fn lock(dir: &Path) -> Result<File, OpenError> {
    let unusable = |source| unusable(dir, source);
    match fs::metadata(dir) {
        Ok(meta) if !meta.is_dir() => {
            return Err(OpenError::NotADirectory { dir: dir.into() });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(dir).map_err(unusable)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(OpenError::NotADirectory { dir: dir.into() });
        }
        Err(error) => return Err(unusable(error)),
    }
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .open(dir.join(LOCK_FILE))
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Who holds it is told if it can be read; the lock itself has already spoken.
            let _ = file.read_to_string(&mut pid);
            let pid = pid.trim();
            return Err(OpenError::Locked {
                dir: dir.into(),
                holder: if pid.is_empty() {
                    String::new()
                } else {
                    format!(" (process {pid})")
                },
            });
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    match write_pid(&mut file) {
        // Whoever is refused is not told by whom; on a full disk the data can still be read.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
        written => written.map_err(unusable)?,
    }
    Ok(file)
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Checks the directory's format, and returns whether the directory is new: then the format is noted
/// under another name until [`finish_format`], so that a creation cut short is told from a damage.
pub(crate) fn check_format(dir: &Path) -> Result<bool, OpenError> {
    let unusable = |source| unusable(dir, source);
    match fs::read(dir.join(FORMAT_FILE)) {
        Ok(text) => {
            let text = String::from_utf8_lossy(&text).trim().to_owned();
            if text == format!("{FORMAT_NAME} {FORMAT}") {
                return Ok(false);
            }
            Err(OpenError::Format {
                dir: dir.into(),
                found: text.chars().take(60).collect(),
                ours: FORMAT,
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let draft = dir.join(FORMAT_DRAFT);
            if dir.join(DB).exists() && !draft.exists() {
                return Err(OpenError::Foreign { dir: dir.into() });
            }
            let mut file = File::create(draft).map_err(unusable)?;
            writeln!(file, "{FORMAT_NAME} {FORMAT}").map_err(unusable)?;
            file.sync_all().map_err(unusable)?;
            sync_dir(dir).map_err(unusable)?;
            Ok(true)
        }
        Err(error) => Err(unusable(error)),
    }
}

/// Marks a directory that was restored as whole.
pub(crate) fn write_format(dir: &Path) -> io::Result<()> {
    let mut file = File::create(dir.join(FORMAT_DRAFT))?;
    writeln!(file, "{FORMAT_NAME} {FORMAT}")?;
    file.sync_all()?;
    finish_format(dir)
}

/// Says that the new directory is complete.
pub(crate) fn finish_format(dir: &Path) -> io::Result<()> {
    fs::rename(dir.join(FORMAT_DRAFT), dir.join(FORMAT_FILE))?;
    sync_dir(dir)
}

/// Free bytes of the disk the directory is on.
pub(crate) fn free_space(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Our own handles of what sled writes to.
#[derive(Debug)]
pub(crate) struct Files {
    db: File,
    blobs: PathBuf,
    /// Open all the time, so that a commit needs no descriptor.
    listing: Mutex<Dir>,
}

impl Files {
    /// Opens the handles after sled has opened, and syncs everything it wrote while opening.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                File::open(entry.path())?.sync_all()?;
            }
        }
        let blobs = dir.join(BLOBS);
        // A copy of the folder may have left an empty one behind.
        fs::create_dir_all(&blobs)?;
        let files = Self {
            db: File::open(dir.join(DB))?,
            listing: Mutex::new(Dir::new(File::open(&blobs)?)?),
            blobs,
        };
        files.sync_blobs()?;
        sync_dir(&files.blobs)?;
        sync_dir(dir)?;
        match fs::canonicalize(dir)?.parent().map(sync_dir) {
            // A parent that we may not read holds a directory that we did not make.
            Some(Err(error)) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
            _ => Ok(files),
        }
    }

    /// Syncs every file that sled may have written to.
    ///
    /// A sync that failed is not tried again: the system may have given up the pages and would call the
    /// second try good. Only being short of descriptors for a file in `blobs/` is waited out.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.sync_blobs()?;
        self.db.sync_all()
    }

    /// Syncs what is in `blobs/`. Rows are kept so small that there should be nothing: looking
    /// costs microseconds.
    fn sync_blobs(&self) -> io::Result<()> {
        // A listing cut short by a panic is begun anew.
        let mut listing = self.listing.lock().unwrap_or_else(PoisonError::into_inner);
        listing.rewind();
        let mut found = false;
        while let Some(entry) = listing.read() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let path = self.blobs.join(OsStr::from_bytes(name));
            match patiently(|| File::open(&path)) {
                Ok(file) => file.sync_all()?,
                // sled has replaced it in the meantime.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            found = true;
        }
        if found {
            fsync(listing.fd()?)?;
        }
        Ok(())
    }
}

pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

pub(crate) fn unusable(dir: &Path, source: io::Error) -> OpenError {
    OpenError::Unusable {
        dir: dir.into(),
        source,
    }
}
