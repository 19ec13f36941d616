//! Disk space reserved for the next opening.
//!
//! sled writes when it opens: a snapshot, and zeros behind the end of its log. On a full disk it
//! could not be opened at all, not even for reading. So a file, `RESERVE`, holds some space. It is
//! removed when an opening needs the space, and created again when the disk has room.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use crate::files::{free_space, sync_dir};
use crate::snapshot;

/// Name of the file.
const RESERVE_FILE: &str = "RESERVE";
/// Bytes that an opening writes besides the snapshot: zeros to the end of a segment, and small
/// files.
const OPENING_BYTES: u64 = 2 << 20;

/// The reserve file of a directory.
#[derive(Debug)]
pub(crate) struct DiskReserve {
    dir: PathBuf,
    min_free: u64,
}

impl DiskReserve {
    pub(crate) fn new(dir: &Path, min_free: u64) -> Self {
        Self {
            dir: dir.into(),
            min_free,
        }
    }

    /// Removes the file if the disk has less free space than an opening needs.
    pub(crate) fn release_if_needed(&self) -> io::Result<()> {
        let path = self.dir.join(RESERVE_FILE);
        let free = free_space(&self.dir)?;
        if free >= self.bytes()? || !path.exists() {
            return Ok(());
        }
        fs::remove_file(path)?;
        sync_dir(&self.dir)?;
        tracing::warn!(
            free,
            "the disk is full; released the reserve to open the data directory, which can be read \
             until there is room"
        );
        Ok(())
    }

    /// Creates the file if it is missing and the disk has room for it besides
    /// [`min_free`](crate::Config::min_free).
    pub(crate) fn restore(&self) {
        // Only a start on a full disk needs the reserve, so a failure is only logged.
        if let Err(error) = self.try_restore() {
            tracing::debug!(%error, "cannot keep room for an opening on a full disk");
        }
    }

    fn try_restore(&self) -> io::Result<()> {
        let (path, bytes) = (self.dir.join(RESERVE_FILE), self.bytes()?);
        if bytes == 0
            || path.exists()
            || free_space(&self.dir)? < bytes.saturating_add(self.min_free)
        {
            return Ok(());
        }
        let file = File::create(&path)?;
        let allocated = fallocate(&file, FallocateFlags::empty(), 0, bytes);
        if allocated.is_err() {
            fs::remove_file(&path)?;
        }
        Ok(allocated?)
    }

    /// Returns the size of the reserve; 0 if no space is to stay free.
    fn bytes(&self) -> io::Result<u64> {
        if self.min_free == 0 {
            return Ok(0);
        }
        let snapshot = snapshot::newest(&self.dir)?;
        let opening = OPENING_BYTES + 2 * snapshot.map_or(0, |(_, bytes)| bytes);
        Ok(opening.max(self.min_free / 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_where_there_is_room_and_let_go_where_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RESERVE_FILE);
        let reserve = DiskReserve::new(dir.path(), 4 << 20);
        reserve.restore();
        assert_eq!(fs::metadata(&path).unwrap().len(), OPENING_BYTES);
        reserve.release_if_needed().unwrap();
        assert!(path.exists(), "the disk has room");
        // No disk is this large, so this reserve takes every disk for full.
        let full = DiskReserve::new(dir.path(), u64::MAX);
        full.release_if_needed().unwrap();
        assert!(!path.exists());
        full.restore();
        assert!(!path.exists());
    }

    #[test]
    fn nothing_is_kept_where_nothing_stays_free() {
        let dir = tempfile::tempdir().unwrap();
        DiskReserve::new(dir.path(), 0).restore();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
