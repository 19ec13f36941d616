//! Files that are being received: hidden files of a local folder, which are checked before a storage
//! gets them.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncWriteExt as _};

/// A reader of a part of a stored file.
pub type FileReader = Box<dyn AsyncRead + Send + Unpin>;

/// A local file without a name, removed when it is dropped.
#[derive(Debug)]
struct HiddenFile(Option<PathBuf>);

impl Drop for HiddenFile {
    fn drop(&mut self) {
        if let Some(path) = self.0.take()
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::debug!(%error, "an unfinished upload stays behind");
        }
    }
}

/// A file that is being received; it is removed if it is dropped.
#[derive(Debug)]
pub(crate) struct UnfinishedFile {
    hidden: HiddenFile,
    file: File,
    length: u64,
}

impl UnfinishedFile {
    /// Creates a file at this path, which must not exist.
    pub(crate) async fn create(path: PathBuf) -> io::Result<Self> {
        let mut options = File::options();
        let file = options.write(true).create_new(true).open(&path).await?;
        let hidden = HiddenFile(Some(path));
        Ok(Self {
            hidden,
            file,
            length: 0,
        })
    }

    /// Appends bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length += bytes.len() as u64;
        self.file.write_all(bytes).await
    }

    /// Ends the file.
    pub(crate) async fn complete(mut self) -> io::Result<CompleteFile> {
        self.file.flush().await?;
        Ok(CompleteFile {
            hidden: self.hidden,
            length: self.length,
        })
    }
}

/// A received file; it is removed unless a storage takes it.
#[derive(Debug)]
pub struct CompleteFile {
    hidden: HiddenFile,
    length: u64,
}

impl CompleteFile {
    /// Returns its path.
    ///
    /// # Errors
    /// The file was moved.
    pub fn path(&self) -> io::Result<&Path> {
        let path = self.hidden.0.as_deref();
        path.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Returns its length in bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Moves the file to another path of the same file system.
    pub(crate) async fn move_to(mut self, path: &Path) -> io::Result<()> {
        File::open(self.path()?).await?.sync_all().await?;
        tokio::fs::rename(self.path()?, path).await?;
        // Only now: if the renaming fails, the drop removes the file.
        self.hidden.0 = None;
        Ok(())
    }
}
