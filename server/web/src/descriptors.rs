//! The limit of open files of this process.

use std::io;

use rlimit::Resource;

/// Returns the limit; `None` where the system has none.
#[must_use]
pub fn limit() -> Option<u64> {
    Resource::NOFILE.get_soft().ok()
}

/// Raises the limit as far as the system allows, and returns it.
///
/// # Errors
/// The system refuses.
pub fn raise() -> io::Result<u64> {
    rlimit::increase_nofile_limit(u64::MAX)
}
