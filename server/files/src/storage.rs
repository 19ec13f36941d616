//! The seam to the place that holds the files.

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::time::SystemTime;

use async_trait::async_trait;

use crate::direct::DirectUploads;
use crate::spool::{CompleteFile, FileReader};
use crate::stored_name::StoredName;

/// A place that holds files under the names that the server made.
///
/// `testkit.rs` has the cases that every storage passes.
#[async_trait]
pub trait FileStorage: Debug + Send + Sync + 'static {
    /// Stores a file. It appears under its name complete and durable, or not at all.
    async fn put(&self, name: &StoredName, file: CompleteFile) -> io::Result<()>;

    /// Returns the length of a stored file; `None` if it does not exist.
    async fn length(&self, name: &StoredName) -> io::Result<Option<u64>>;

    /// Opens a part of a stored file; [`NotFound`](io::ErrorKind::NotFound) if it does not exist.
    async fn read(&self, name: &StoredName, part: Range<u64>) -> io::Result<FileReader>;

    /// Removes a file; a file that does not exist is removed already.
    async fn delete(&self, name: &StoredName) -> io::Result<()>;

    /// Returns at most `limit` files that were stored before this time.
    async fn stored_before(&self, time: SystemTime, limit: usize) -> io::Result<Vec<StoredName>>;

    /// Returns the part that lets clients send files to the storage themselves, if it can.
    fn direct_uploads(&self) -> Option<&dyn DirectUploads> {
        None
    }
}
