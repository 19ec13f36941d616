//! Files of a data directory: the lock, the format, and syncing of the files that sled writes.
//!
//! sled's own flush hands its pages to the drive (`sync_file_range`), but syncs neither the file's
//! size nor the drive's cache, and never the files in `blobs/` or the directories. So for
//! [`DurabilityLevel::Power`](crate::DurabilityLevel) every commit ends with an `fsync` of our own
//! handle of `db` (which covers the file's pages, whichever handle wrote them) and of every file in
//! `blobs/`. Snapshots and `conf` are written while sled opens, and are synced right after.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Dir, fsync};

use crate::error::{EngineError, OpenError, chain};
use crate::system::patiently;

/// Version of the layout that this version reads and writes.
pub(crate) const FORMAT_VERSION: u32 = 2;

pub(crate) const FORMAT_FILE: &str = "FORMAT";
const FORMAT_DRAFT_FILE: &str = "FORMAT.new";
const FORMAT_NAME: &str = "gimlet-storage-sled";
pub(crate) const LOCK_FILE: &str = "LOCK";
pub(crate) const DB_FILE: &str = "db";
const BLOBS_DIR: &str = "blobs";
/// Directory in which a restore builds the rows. It exists until all of them have moved.
pub(crate) const RESTORING: &str = "restoring";

/// Creates the directory and takes its lock, which is held until the returned file is dropped.
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
            // The pid only improves the error text; the refusal itself does not depend on it.
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
        // Without the pid, the process that is refused cannot name this one. That must not stop an
        // opening on a full disk, where the data can still be read.
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

/// Checks the directory's format, and returns true if the directory is new. The format of a new
/// directory is written under another name until [`finish_format`], so that an interrupted creation
/// can be told from damage.
pub(crate) fn check_format(dir: &Path) -> Result<bool, OpenError> {
    let unusable = |source| unusable(dir, source);
    match fs::read(dir.join(FORMAT_FILE)) {
        Ok(text) => {
            let text = String::from_utf8_lossy(&text).trim().to_owned();
            if text == format!("{FORMAT_NAME} {FORMAT_VERSION}") {
                return Ok(false);
            }
            Err(OpenError::Format {
                dir: dir.into(),
                found: text.chars().take(60).collect(),
                ours: FORMAT_VERSION,
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Before the check for `db`: a restore that was killed early has moved no `db` yet, and
            // the directory would pass for a new one.
            if dir.join(RESTORING).exists() {
                return Err(OpenError::Unfinished { dir: dir.into() });
            }
            let draft = dir.join(FORMAT_DRAFT_FILE);
            if dir.join(DB_FILE).exists() && !draft.exists() {
                return Err(OpenError::Foreign { dir: dir.into() });
            }
            let mut file = File::create(draft).map_err(unusable)?;
            writeln!(file, "{FORMAT_NAME} {FORMAT_VERSION}").map_err(unusable)?;
            file.sync_all().map_err(unusable)?;
            sync_dir(dir).map_err(unusable)?;
            Ok(true)
        }
        Err(error) => Err(unusable(error)),
    }
}

/// Marks a restored directory as complete.
pub(crate) fn write_format(dir: &Path) -> io::Result<()> {
    let mut file = File::create(dir.join(FORMAT_DRAFT_FILE))?;
    writeln!(file, "{FORMAT_NAME} {FORMAT_VERSION}")?;
    file.sync_all()?;
    finish_format(dir)
}

/// Marks a new directory as complete.
pub(crate) fn finish_format(dir: &Path) -> io::Result<()> {
    fs::rename(dir.join(FORMAT_DRAFT_FILE), dir.join(FORMAT_FILE))?;
    sync_dir(dir)
}

/// Returns the free bytes of the disk that holds the directory.
pub(crate) fn free_space(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Our own handles of the files that sled writes to.
#[derive(Debug)]
pub(crate) struct SyncedFiles {
    db: File,
    blobs: PathBuf,
    /// Kept open, so that a commit needs no new descriptor.
    listing: Mutex<Dir>,
}

impl SyncedFiles {
    /// Opens the handles after sled has opened, and syncs everything sled wrote while opening.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                File::open(entry.path())?.sync_all()?;
            }
        }
        let blobs = dir.join(BLOBS_DIR);
        // A copy of the directory may have left out the empty folder.
        fs::create_dir_all(&blobs)?;
        let files = Self {
            db: File::open(dir.join(DB_FILE))?,
            listing: Mutex::new(Dir::new(File::open(&blobs)?)?),
            blobs,
        };
        files.sync_blobs()?;
        sync_dir(&files.blobs)?;
        sync_dir(dir)?;
        match fs::canonicalize(dir)?.parent().map(sync_dir) {
            // A parent that this process may not read was not created by it, so its entry needs no
            // sync.
            Some(Err(error)) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
            _ => Ok(files),
        }
    }

    /// Syncs every file that sled may have written to.
    ///
    /// A failed sync is not repeated: the system may have dropped the dirty pages and would report
    /// success for the second attempt. Only a shortage of descriptors for a file in `blobs/` is
    /// waited out.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.sync_blobs()?;
        self.db.sync_all()
    }

    /// Syncs the files in `blobs/`. Rows are kept so small that there should be none; the check
    /// costs microseconds.
    fn sync_blobs(&self) -> io::Result<()> {
        // A panic can only leave a partly read listing, and it is rewound here.
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
                // sled has replaced the file in the meantime.
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

/// Converts an error of sled into the reason why the directory does not open.
pub(crate) fn refuse(dir: &Path, fault: EngineError) -> OpenError {
    match fault {
        EngineError::Sled(sled::Error::Io(source)) => unusable(dir, source),
        EngineError::Sled(sled::Error::Unsupported(found)) => OpenError::Format {
            dir: dir.into(),
            found,
            ours: FORMAT_VERSION,
        },
        fault => OpenError::Damaged {
            dir: dir.into(),
            what: chain(&fault),
        },
    }
}
