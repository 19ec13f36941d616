//! One upload, from its first bytes to a stored file.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use crate::file_kind::{self, FileKind, HEAD_BYTES};
use crate::quota::UploadUsage;
use crate::refusal::FileRefusal;
use crate::upload_folder::{UnfinishedFile, UploadFolder};

/// Time limit of a whole upload.
const UPLOAD_TIMEOUT: Duration = Duration::from_mins(5);

/// An upload in progress; dropped before [`finish`](Self::finish), it leaves nothing behind.
#[derive(Debug)]
pub struct FileUpload {
    folder: Arc<UploadFolder>,
    /// The folder's path, once it was made.
    path: Option<PathBuf>,
    max: u64,
    until: Instant,
    usage: UploadUsage,
    /// The name that the client gave the file.
    name: String,
    total: u64,
    /// The first bytes, until there are enough of them to recognise the kind.
    head: Vec<u8>,
    file: Option<(UnfinishedFile, FileKind)>,
    _permit: OwnedSemaphorePermit,
}

impl FileUpload {
    pub(crate) fn new(
        folder: Arc<UploadFolder>,
        max: u64,
        usage: UploadUsage,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            folder,
            path: None,
            max,
            until: Instant::now() + UPLOAD_TIMEOUT,
            usage,
            name: String::new(),
            total: 0,
            head: Vec::new(),
            file: None,
            _permit: permit,
        }
    }

    /// Returns the size of the largest file, in bytes.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// Sets the name that the client gave the file: it decides the kind where the content does not.
    pub fn name(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }

    /// Waits for something that the upload needs, such as its next bytes, within its time.
    ///
    /// # Errors
    /// [`FileRefusal::TooSlow`]
    pub async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, FileRefusal> {
        let done = timeout_at(self.until, work).await;
        done.map_err(|_| FileRefusal::TooSlow)
    }

    /// Stores the next bytes.
    ///
    /// # Errors
    /// The file breaks a rule, has no room, or takes too long.
    pub async fn write(&mut self, chunk: &[u8]) -> Result<(), FileRefusal> {
        let until = self.until;
        let written = timeout_at(until, self.store(chunk)).await;
        written.unwrap_or(Err(FileRefusal::TooSlow))
    }

    async fn store(&mut self, chunk: &[u8]) -> Result<(), FileRefusal> {
        let length = chunk.len() as u64;
        self.total += length;
        if self.total > self.max {
            return Err(FileRefusal::TooLarge(self.max));
        }
        let path = if let Some(path) = &self.path {
            path
        } else {
            let path = self.folder.path().await.map_err(of_disk)?;
            &*self.path.insert(path.to_owned())
        };
        self.usage.take(path, length).await?;
        if let Some((file, _)) = &mut self.file {
            return file.write(chunk).await.map_err(of_disk);
        }
        self.head.extend_from_slice(chunk);
        if self.head.len() >= HEAD_BYTES {
            self.recognise().await?;
        }
        Ok(())
    }

    /// Begins the file once its kind is known by its first bytes.
    async fn recognise(&mut self) -> Result<(), FileRefusal> {
        let seen = self.head.get(..HEAD_BYTES).unwrap_or(&self.head);
        let kind = file_kind::recognise(seen, &self.name).ok_or(FileRefusal::Unsupported)?;
        let mut file = self.folder.begin().await.map_err(of_disk)?;
        file.write(&self.head).await.map_err(of_disk)?;
        self.head = Vec::new();
        self.file = Some((file, kind));
        Ok(())
    }

    /// Completes the file and returns the name that it is stored under.
    ///
    /// # Errors
    /// The file is empty, of an unknown kind, or cannot be stored.
    pub async fn finish(mut self) -> Result<String, FileRefusal> {
        let until = self.until;
        let stored = timeout_at(until, self.keep()).await;
        let name = stored.unwrap_or(Err(FileRefusal::TooSlow))?;
        self.usage.keep();
        Ok(name)
    }

    async fn keep(&mut self) -> Result<String, FileRefusal> {
        if self.total == 0 {
            return Err(FileRefusal::Empty);
        }
        // A file shorter than `HEAD_BYTES` is recognised at its end.
        if self.file.is_none() {
            self.recognise().await?;
        }
        let (file, kind) = self.file.take().ok_or(FileRefusal::Empty)?;
        file.keep(kind.extension).await.map_err(of_disk)
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is the end of the error: map_err(of_disk)"
)]
fn of_disk(error: io::Error) -> FileRefusal {
    FileRefusal::of_disk(&error)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::quota::{UploadBounds, UploadQuota};

    #[tokio::test(start_paused = true)]
    async fn an_upload_has_five_minutes() {
        let permits = Arc::new(tokio::sync::Semaphore::new(1));
        let permit = permits.try_acquire_owned().unwrap();
        let bounds = UploadBounds {
            min_free: 0,
            each: 0,
        };
        let usage = UploadQuota::new(bounds).begin(None);
        let folder = Arc::new(UploadFolder::temporary());
        let begun = Instant::now();
        let upload = FileUpload::new(folder, 1_000, usage, permit);
        let outcome = upload.within(pending::<()>()).await;
        assert!(matches!(outcome, Err(FileRefusal::TooSlow)));
        let waited = begun.elapsed();
        assert!(waited >= UPLOAD_TIMEOUT && waited < UPLOAD_TIMEOUT * 2);
    }
}
