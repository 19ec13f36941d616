//! sled's snapshots, which save it from reading the whole log at an opening.
//!
//! They are derived data: without one, sled reads the log from its beginning and writes a new one.
//! But sled refuses to open beside a damaged snapshot, so damaged ones are renamed first.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use crate::files::sync_dir;

/// Prefix of the names of snapshots; the rest is the LSN where the snapshot ends, in hexadecimal.
const SNAPSHOT_PREFIX: &str = "snap.";
/// Prefix of the names of snapshots that were set aside.
const DAMAGED_PREFIX: &str = "damaged.";
/// Suffix of the names of snapshots that a killed process left half-written.
const UNFINISHED_SUFFIX: &str = ".generating";
/// Bytes behind the content: its length and its checksum.
const TRAILER_BYTES: usize = 12;

/// Clears snapshots that sled cannot read: half-written ones, which sled takes for whole ones, and
/// damaged ones. A half-written one is deleted, because sled removes the older one only after it
/// has renamed the new one. A damaged one is kept under another name.
pub(crate) fn clear(dir: &Path) -> io::Result<()> {
    for name in names(dir)? {
        let path = dir.join(&name);
        if name.to_string_lossy().ends_with(UNFINISHED_SUFFIX) {
            fs::remove_file(&path)?;
            tracing::warn!(file = ?name, "deleted a half-written snapshot of a killed process");
        } else if !is_whole(&fs::read(&path)?) {
            let mut aside = OsString::from(DAMAGED_PREFIX);
            aside.push(&name);
            fs::rename(&path, dir.join(&aside))?;
            sync_dir(dir)?;
            tracing::warn!(
                file = ?name, now = ?aside,
                "set a damaged snapshot aside; it is derived, so the log is read from its beginning instead"
            );
        }
    }
    Ok(())
}

/// Returns the LSN that the newest snapshot reaches; 0 without one.
pub(crate) fn lsn(dir: &Path) -> io::Result<u64> {
    Ok(newest(dir)?.map_or(0, |(lsn, _)| lsn))
}

/// Returns the LSN that the newest snapshot reaches, and its size in bytes.
pub(crate) fn newest(dir: &Path) -> io::Result<Option<(u64, u64)>> {
    let mut newest = None;
    for name in names(dir)? {
        let number = name
            .to_str()
            .and_then(|it| it.strip_prefix(SNAPSHOT_PREFIX));
        let lsn = number.and_then(|it| u64::from_str_radix(it, 16).ok());
        if let Some(lsn) = lsn.filter(|lsn| newest.is_none_or(|(last, _)| *lsn > last)) {
            newest = Some((lsn, fs::metadata(dir.join(&name))?.len()));
        }
    }
    Ok(newest)
}

fn names(dir: &Path) -> io::Result<Vec<OsString>> {
    let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name()));
    let names: Vec<_> = names.collect::<io::Result<_>>()?;
    let snapshots = names.into_iter();
    Ok(snapshots
        .filter(|it| it.to_string_lossy().starts_with(SNAPSHOT_PREFIX))
        .collect())
}

/// Returns true if the checksum at the end of a snapshot matches its content.
fn is_whole(bytes: &[u8]) -> bool {
    let Some((rest, checksum)) = bytes.split_last_chunk::<4>() else {
        return false;
    };
    let content = rest
        .len()
        .checked_sub(TRAILER_BYTES - 4)
        .filter(|len| *len > 0);
    let content = content.and_then(|len| rest.get(..len));
    content.is_some_and(|it| crc32fast::hash(it) == u32::from_le_bytes(*checksum))
}
