//! The free space of a disk.

use std::path::Path;

/// Returns the free bytes of the folder's disk, for a process that is not root. `None` where the
/// system does not say.
#[cfg(unix)]
#[must_use]
pub fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Returns the free bytes of the folder's disk, which this system does not say.
#[cfg(not(unix))]
#[must_use]
pub const fn free_bytes(_folder: &Path) -> Option<u64> {
    None
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_exists_has_a_disk() {
        assert!(free_bytes(Path::new(".")).is_some());
        assert_eq!(free_bytes(Path::new("/nothing/is/here")), None);
    }
}
