//! One upload, from its first bytes to a stored file.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gimlet_core::id::UserId;
use gimlet_images::{InspectedPicture, PictureThumbnail};
use tokio::io::AsyncReadExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use crate::counts::FileCounters;
use crate::direct::PendingName;
use crate::file_kind::{self, FileKind, HEAD_BYTES};
use crate::quota::UploadUsage;
use crate::refusal::FileRefusal;
use crate::scan::ScanQuestion;
use crate::spool::{CompleteFile, FileReader, UnfinishedFile};
use crate::store_parts::StoreParts;
use crate::stored_name::StoredName;

/// Time limit of a whole upload.
const UPLOAD_TIMEOUT: Duration = Duration::from_mins(5);
/// Bytes that are read at a time from a storage.
const CHUNK_BYTES: usize = 64 << 10;

/// A file that was uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedFile {
    /// The name that it is stored under.
    pub name: StoredName,
    /// Its length in bytes.
    pub length: u64,
    /// Set if it is a picture that can be shown.
    pub picture: Option<UploadedPicture>,
}

/// A picture that was uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedPicture {
    /// Width in pixels, as it is shown.
    pub width: u32,
    /// Height in pixels, as it is shown.
    pub height: u32,
    /// The name of its thumbnail; of the picture itself if that is as small.
    pub thumbnail: StoredName,
}

/// Counts an upload that ends without a stored file.
#[derive(Debug)]
struct UploadOutcome {
    store: Arc<StoreParts>,
    is_stored: bool,
}

impl Drop for UploadOutcome {
    fn drop(&mut self) {
        if !self.is_stored {
            FileCounters::add(&self.store.counters.refused, 1);
        }
    }
}

/// An upload in progress; dropped before it is [stored](CompleteUpload::store), it leaves nothing behind.
#[derive(Debug)]
pub struct FileUpload {
    store: Arc<StoreParts>,
    /// The folder's path, once it was made.
    path: Option<PathBuf>,
    max: u64,
    until: Instant,
    user: Option<UserId>,
    usage: UploadUsage,
    outcome: UploadOutcome,
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
        store: Arc<StoreParts>,
        max: u64,
        user: Option<UserId>,
        usage: UploadUsage,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            outcome: UploadOutcome {
                store: Arc::clone(&store),
                is_stored: false,
            },
            store,
            user,
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
            let path = self.store.spool.path().await.map_err(of_disk)?;
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
        let mut file = self.store.spool.begin().await.map_err(of_disk)?;
        file.write(&self.head).await.map_err(of_disk)?;
        self.head = Vec::new();
        self.file = Some((file, kind));
        Ok(())
    }

    /// Completes the file and checks its content. It is visible to nobody until it is
    /// [stored](CompleteUpload::store).
    ///
    /// # Errors
    /// The file is empty, of an unknown kind, or refused by the scanner.
    pub async fn finish(mut self) -> Result<CompleteUpload, FileRefusal> {
        let until = self.until;
        let inspected = timeout_at(until, self.inspect()).await;
        let content = inspected.unwrap_or(Err(FileRefusal::TooSlow))?;
        Ok(CompleteUpload {
            upload: self,
            content,
            sent: None,
        })
    }

    /// Receives everything that a reader has, and completes the file.
    ///
    /// # Errors
    /// The reader fails, or the file breaks a rule.
    pub(crate) async fn take(
        mut self,
        mut reader: FileReader,
    ) -> Result<CompleteUpload, FileRefusal> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = self.within(reader.read(&mut chunk)).await?;
            let read = read.map_err(of_disk)?;
            match chunk.get(..read).filter(|it| !it.is_empty()) {
                Some(bytes) => self.write(bytes).await?,
                None => return self.finish().await,
            }
        }
    }

    async fn inspect(&mut self) -> Result<InspectedContent, FileRefusal> {
        if self.total == 0 {
            return Err(FileRefusal::Empty);
        }
        // A file shorter than `HEAD_BYTES` is recognised at its end.
        if self.file.is_none() {
            self.recognise().await?;
        }
        let (file, kind) = self.file.take().ok_or(FileRefusal::Empty)?;
        let file = file.complete().await.map_err(of_disk)?;
        let path = file.path().map_err(of_disk)?;
        if let Some(scan) = &self.store.scan {
            let question = ScanQuestion {
                path,
                kind,
                name: &self.name,
                user: self.user,
            };
            scan.check(question, &self.store.counters).await?;
        }
        let picture = self.store.pictures.inspect(path, kind).await;
        Ok(InspectedContent {
            file,
            kind,
            picture,
        })
    }

    async fn keep(&self, content: InspectedContent) -> Result<UploadedFile, FileRefusal> {
        let name = StoredName::random(content.kind);
        let length = content.file.length();
        // The thumbnail first: the file is visible with everything that belongs to it.
        let picture = match content.picture {
            Some(picture) => Some(self.keep_thumbnail(&name, picture).await?),
            None => None,
        };
        let stored = self.store.storage.put(&name, content.file).await;
        if let Err(error) = stored {
            if let Some(picture) = picture {
                self.remove_thumbnail(&picture.thumbnail).await;
            }
            return Err(of_disk(error));
        }
        Ok(UploadedFile {
            name,
            length,
            picture,
        })
    }

    async fn keep_thumbnail(
        &self,
        name: &StoredName,
        picture: InspectedPicture,
    ) -> Result<UploadedPicture, FileRefusal> {
        let thumbnail = match picture.thumbnail {
            Some(thumbnail) => {
                let stored = self.store_thumbnail(name, thumbnail).await;
                stored.map_err(of_disk)?
            }
            None => name.clone(),
        };
        Ok(UploadedPicture {
            width: picture.width,
            height: picture.height,
            thumbnail,
        })
    }

    async fn store_thumbnail(
        &self,
        name: &StoredName,
        thumbnail: PictureThumbnail,
    ) -> io::Result<StoredName> {
        let kind = file_kind::of_media_type(thumbnail.media_type);
        let name = name.thumbnail(kind.unwrap_or(name.kind()));
        let mut file = self.store.spool.begin().await?;
        file.write(&thumbnail.content).await?;
        let file = file.complete().await?;
        self.store.storage.put(&name, file).await?;
        Ok(name)
    }

    /// Removes the thumbnail of a file that could not be stored; the retention removes it otherwise.
    async fn remove_thumbnail(&self, name: &StoredName) {
        if let Err(error) = self.store.storage.delete(name).await {
            tracing::debug!(%error, "a thumbnail without a file stays behind");
        }
    }
}

/// The content of an upload after its checks.
#[derive(Debug)]
struct InspectedContent {
    file: CompleteFile,
    kind: FileKind,
    picture: Option<InspectedPicture>,
}

/// An upload whose content is complete and accepted; dropped before [`store`](Self::store), it leaves
/// nothing behind.
#[derive(Debug)]
pub struct CompleteUpload {
    upload: FileUpload,
    content: InspectedContent,
    /// Object that the client has sent to the storage itself.
    sent: Option<PendingName>,
}

impl CompleteUpload {
    /// Names what the client has sent to the storage itself; it is discarded once the file is stored.
    pub(crate) fn sent_as(self, sent: PendingName) -> Self {
        let sent = Some(sent);
        Self { sent, ..self }
    }

    /// Stores the file and, for a picture, its thumbnail, if the uploader may still upload. Every door
    /// answers that anew: minutes may have passed since the upload began, and what ended meanwhile must
    /// not leave a file.
    ///
    /// # Errors
    /// The refusal of `may_upload`, or the file cannot be stored.
    pub async fn store<E: From<FileRefusal>>(
        self,
        may_upload: impl Future<Output = Result<(), E>>,
    ) -> Result<UploadedFile, E> {
        let Self {
            mut upload,
            content,
            sent,
        } = self;
        upload.within(may_upload).await??;
        let stored = upload.within(upload.keep(content)).await;
        let uploaded = stored.unwrap_or_else(Err)?;
        upload.usage.keep();
        upload.outcome.is_stored = true;
        let counters = &upload.store.counters;
        FileCounters::add(&counters.stored, 1);
        FileCounters::add(&counters.stored_bytes, uploaded.length);
        if let Some(sent) = sent {
            upload.store.discard(&sent).await;
        }
        Ok(uploaded)
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
    use crate::upload_folder::UploadFolder;

    #[tokio::test(start_paused = true)]
    async fn an_upload_has_five_minutes() {
        let permits = Arc::new(tokio::sync::Semaphore::new(1));
        let permit = permits.try_acquire_owned().unwrap();
        let bounds = UploadBounds {
            min_free: 0,
            each: 0,
        };
        let usage = UploadQuota::new(bounds).begin(None);
        let store = Arc::new(StoreParts::of_folder(UploadFolder::temporary(), 0));
        let begun = Instant::now();
        let upload = FileUpload::new(store, 1_000, None, usage, permit);
        let outcome = upload.within(pending::<()>()).await;
        assert!(matches!(outcome, Err(FileRefusal::TooSlow)));
        let waited = begun.elapsed();
        assert!(waited >= UPLOAD_TIMEOUT && waited < UPLOAD_TIMEOUT * 2);
    }
}
