//! The service of uploaded files: begins uploads and opens stored files.

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use gimlet_core::id::UserId;
use tokio::sync::Semaphore;

use crate::counts::FileCounts;
use crate::direct::{DirectUploads, PendingName};
use crate::file_kind::FileKind;
use crate::quota::{UploadBounds, UploadQuota, UploadUsage};
use crate::refusal::FileRefusal;
use crate::spool::FileReader;
use crate::store_parts::{FileParts, StoreParts};
use crate::stored_name::StoredName;
use crate::upload::{CompleteUpload, FileUpload};
use crate::upload_folder::UploadFolder;

/// Largest number of concurrent uploads; more are asked to try again.
const MAX_CONCURRENT_UPLOADS: usize = 32;

/// Time within which a client sends a file to the storage itself.
const PRESIGNED_LIFETIME: Duration = Duration::from_mins(15);

/// The operator's rules for uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRules {
    /// Size of the largest file, in bytes.
    pub max: u64,
    /// True if uploads need no sign-in.
    pub anonymous: bool,
    /// Bounds of the amount that may be uploaded.
    pub bounds: UploadBounds,
    /// Longest side of a thumbnail in pixels; 0 makes none, and reads no dimensions.
    pub thumbnail_side: u32,
}

/// A URL to which a client may send one file.
#[derive(Clone, PartialEq, Eq)]
pub struct PresignedUpload {
    /// The id that completes the upload.
    pub id: String,
    /// The URL, for `PUT`. It has a signature.
    pub url: String,
    /// Time for which the URL is valid.
    pub lifetime: Duration,
}

impl fmt::Debug for PresignedUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresignedUpload").finish_non_exhaustive()
    }
}

/// The service of uploaded files. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FileStore {
    parts: Arc<StoreParts>,
    rules: FileRules,
    quota: UploadQuota,
    permits: Arc<Semaphore>,
}

/// A stored file.
#[derive(Debug)]
pub struct StoredFile {
    parts: Arc<StoreParts>,
    name: StoredName,
    /// Its length, in bytes.
    pub length: u64,
    /// Its kind, by the name that it was stored under.
    pub kind: FileKind,
}

impl StoredFile {
    /// Returns a part of the file: `length` bytes from `first` on; `None` if the file was removed
    /// meanwhile.
    ///
    /// # Errors
    /// [`FileRefusal::Failed`]
    pub async fn part(self, first: u64, length: u64) -> Result<Option<FileReader>, FileRefusal> {
        let part = first..first.saturating_add(length);
        match self.parts.storage.read(&self.name, part).await {
            Ok(reader) => Ok(Some(reader)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FileRefusal::of_disk(&error)),
        }
    }
}

impl FileStore {
    /// Creates the service over a folder.
    #[must_use]
    pub fn new(folder: UploadFolder, rules: FileRules) -> Self {
        let parts = FileParts {
            spool: folder,
            storage: None,
            scan: None,
        };
        Self::with_parts(parts, rules)
    }

    /// Creates the service over a storage.
    #[must_use]
    pub fn with_parts(parts: FileParts, rules: FileRules) -> Self {
        Self {
            parts: Arc::new(StoreParts::new(parts, rules.thumbnail_side)),
            rules,
            quota: UploadQuota::new(rules.bounds),
            permits: Arc::new(Semaphore::new(MAX_CONCURRENT_UPLOADS)),
        }
    }

    /// Returns the rules, for entry points that refuse a request by its header.
    #[must_use]
    pub const fn rules(&self) -> &FileRules {
        &self.rules
    }

    /// Begins an upload of a user, whose sign-in the entry point has checked; `None` is a client without
    /// one.
    ///
    /// # Errors
    /// Uploads need a sign-in, or too many are in progress.
    pub fn begin(&self, user: Option<UserId>) -> Result<FileUpload, FileRefusal> {
        if user.is_none() && !self.rules.anonymous {
            return Err(FileRefusal::SignInRequired);
        }
        self.begin_with(user, self.quota.begin(user))
    }

    fn begin_with(
        &self,
        user: Option<UserId>,
        usage: UploadUsage,
    ) -> Result<FileUpload, FileRefusal> {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| FileRefusal::Busy)?;
        let parts = Arc::clone(&self.parts);
        Ok(FileUpload::new(parts, self.rules.max, user, usage, permit))
    }

    /// Lets a user send a file of this length to the storage itself. The bytes count against the user's
    /// quota at once.
    ///
    /// # Errors
    /// The storage takes no files from clients, or a rule forbids the file.
    pub async fn presign(&self, user: UserId, length: u64) -> Result<PresignedUpload, FileRefusal> {
        let direct = self.direct_uploads()?;
        if length == 0 {
            return Err(FileRefusal::Empty);
        }
        if length > self.rules.max {
            return Err(FileRefusal::TooLarge(self.rules.max));
        }
        self.quota.reserve(user, length)?;
        let name = PendingName::random(user, length);
        let address = direct.address(&name, PRESIGNED_LIFETIME).await;
        Ok(PresignedUpload {
            id: name.id().to_owned(),
            url: address.map_err(|error| FileRefusal::of_disk(&error))?,
            lifetime: PRESIGNED_LIFETIME,
        })
    }

    /// Completes an upload that the user has sent to the storage: its content is read and checked like
    /// that of any upload, and is to be stored. `None` if the user has sent nothing under this id.
    ///
    /// # Errors
    /// The file breaks a rule, or cannot be read.
    pub async fn complete(
        &self,
        user: UserId,
        id: &str,
        name: &str,
    ) -> Result<Option<CompleteUpload>, FileRefusal> {
        let direct = self.direct_uploads()?;
        let Some(pending) = PendingName::of(user, id) else {
            return Ok(None);
        };
        let mut upload = self.begin_with(Some(user), self.quota.begin_counted(Some(user)))?;
        upload.name(name);
        let received = upload.within(direct.received(&pending)).await?;
        let received = received.map_err(|error| FileRefusal::of_disk(&error))?;
        let Some((length, reader)) = received else {
            return Ok(None);
        };
        let announced = pending.length();
        let completed = if length != announced {
            let sent = length;
            Err(FileRefusal::OtherLength { sent, announced })
        } else if length > self.rules.max {
            Err(FileRefusal::TooLarge(self.rules.max))
        } else {
            upload.take(reader).await
        };
        match completed {
            Ok(completed) => Ok(Some(completed.sent_as(pending))),
            Err(refusal) => {
                if refusal.is_final() {
                    self.parts.discard(&pending).await;
                }
                Err(refusal)
            }
        }
    }

    fn direct_uploads(&self) -> Result<&dyn DirectUploads, FileRefusal> {
        let direct = self.parts.storage.direct_uploads();
        direct.ok_or(FileRefusal::NoDirectUploads)
    }

    /// Returns the counts of files since the start.
    #[must_use]
    pub fn counts(&self) -> FileCounts {
        self.parts.counters.read()
    }

    pub(crate) fn parts(&self) -> &StoreParts {
        &self.parts
    }

    /// Opens a stored file; `None` if this server did not make the name, or the file is gone.
    ///
    /// # Errors
    /// [`FileRefusal::Failed`]
    pub async fn open(&self, name: &str) -> Result<Option<StoredFile>, FileRefusal> {
        let Some(name) = StoredName::parse(name) else {
            return Ok(None);
        };
        let length = self.parts.storage.length(&name).await;
        let length = length.map_err(|error| FileRefusal::of_disk(&error))?;
        Ok(length.map(|length| StoredFile {
            parts: Arc::clone(&self.parts),
            kind: name.kind(),
            name,
            length,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::time::SystemTime;

    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::UploadedFile;
    use crate::counts::FileCounters;
    use crate::pictures::PictureInspector;
    use crate::spool::CompleteFile;
    use crate::storage::FileStorage;

    fn store(rules: FileRules) -> FileStore {
        FileStore::new(UploadFolder::temporary(), rules)
    }

    fn rules() -> FileRules {
        FileRules {
            max: 1_000,
            anonymous: false,
            bounds: UploadBounds {
                min_free: 0,
                each: 0,
            },
            thumbnail_side: 64,
        }
    }

    fn png(length: usize) -> Vec<u8> {
        let mut content = b"\x89PNG\r\n\x1a\n".to_vec();
        content.resize(length, 7);
        content
    }

    /// Uploads the content in chunks of 100 bytes.
    async fn upload(
        store: &FileStore,
        user: Option<UserId>,
        name: &str,
        content: &[u8],
    ) -> Result<UploadedFile, FileRefusal> {
        let mut upload = store.begin(user)?;
        upload.name(name);
        for chunk in content.chunks(100) {
            upload.write(chunk).await?;
        }
        upload.finish().await?.store(async { Ok(()) }).await
    }

    #[tokio::test]
    async fn a_file_is_read_back_with_the_kind_of_its_content() {
        let store = store(rules());
        let user = UserId::new(1);
        for length in [9, 511, 512, 513, 1_000] {
            let uploaded = upload(&store, user, "avatar.jpg", &png(length))
                .await
                .unwrap();
            let name = uploaded.name.to_string();
            assert_eq!(uploaded.name.kind().extension, "png");
            assert_eq!(uploaded.length, length as u64);
            // The content is not a picture behind its first bytes: it is kept, and has no dimensions.
            assert_eq!(uploaded.picture, None);
            let stored = store.open(&name).await.unwrap().unwrap();
            assert_eq!(
                (stored.length, stored.kind.mime),
                (length as u64, "image/png")
            );
            let mut content = Vec::new();
            let mut part = stored.part(3, 5).await.unwrap().unwrap();
            part.read_to_end(&mut content).await.unwrap();
            assert_eq!(content, png(length)[3..8]);
        }
        assert!(store.open("../secret.png").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_the_rules_forbid_is_refused_and_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::new(UploadFolder::under(dir.path()), rules());
        let user = UserId::new(1);
        let refused = |name, content: Vec<u8>| {
            let store = store.clone();
            async move { upload(&store, user, name, &content).await.unwrap_err() }
        };
        let refusal = refused("big.png", png(1_001)).await;
        assert!(matches!(refusal, FileRefusal::TooLarge(1_000)), "{refusal}");
        let refusal = refused("a.html", b"<html>".to_vec()).await;
        assert!(matches!(refusal, FileRefusal::Unsupported), "{refusal}");
        let refusal = refused("a.png", Vec::new()).await;
        assert!(matches!(refusal, FileRefusal::Empty), "{refusal}");
        let left = std::fs::read_dir(dir.path().join("files")).unwrap().count();
        assert_eq!(left, 0);
    }

    #[tokio::test]
    async fn strangers_upload_only_where_the_operator_allows_it() {
        let refusal = upload(&store(rules()), None, "a.png", &png(9)).await;
        assert!(matches!(refusal, Err(FileRefusal::SignInRequired)));
        let open = store(FileRules {
            anonymous: true,
            ..rules()
        });
        upload(&open, None, "a.png", &png(9)).await.unwrap();
    }

    #[tokio::test]
    async fn only_so_many_uploads_are_in_progress() {
        let store = store(rules());
        let user = UserId::new(1);
        let begun: Vec<_> = (0..MAX_CONCURRENT_UPLOADS)
            .map(|_| store.begin(user).unwrap())
            .collect();
        assert!(matches!(store.begin(user), Err(FileRefusal::Busy)));
        drop(begun);
        assert!(store.begin(user).is_ok());
    }

    #[tokio::test]
    async fn an_upload_that_is_given_up_frees_its_part_of_the_quota() {
        let store = store(FileRules {
            bounds: UploadBounds {
                min_free: 0,
                each: 600,
            },
            ..rules()
        });
        let user = UserId::new(1);
        let mut given_up = store.begin(user).unwrap();
        given_up.write(&png(600)).await.unwrap();
        drop(given_up);
        upload(&store, user, "a.png", &png(600)).await.unwrap();
        let refusal = upload(&store, user, "a.png", &png(600)).await;
        assert!(matches!(refusal, Err(FileRefusal::Exceeded(_))));
    }

    /// A picture of these dimensions, with all its pixels different.
    fn picture(width: u32, height: u32) -> Vec<u8> {
        let picture = image::RgbImage::from_fn(width, height, |x, y| {
            let mixed = x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503);
            let [red, green, blue, _] = mixed.to_le_bytes();
            image::Rgb([red, green, blue])
        });
        let mut content = std::io::Cursor::new(Vec::new());
        picture
            .write_to(&mut content, image::ImageFormat::Png)
            .unwrap();
        content.into_inner()
    }

    #[tokio::test]
    async fn a_picture_has_a_thumbnail_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let rules = FileRules {
            max: 1 << 20,
            ..rules()
        };
        let store = FileStore::new(UploadFolder::under(dir.path()), rules);
        let content = picture(300, 100);
        let uploaded = upload(&store, UserId::new(1), "a.png", &content).await;
        let uploaded = uploaded.unwrap();
        let shown = uploaded.picture.unwrap();
        assert_eq!((shown.width, shown.height), (300, 100));
        let stored = store.open(shown.thumbnail.as_str()).await.unwrap().unwrap();
        assert_eq!(stored.kind.mime, "image/jpeg");
        let (mut bytes, length) = (Vec::new(), stored.length);
        let mut part = stored.part(0, length).await.unwrap().unwrap();
        part.read_to_end(&mut bytes).await.unwrap();
        let thumbnail = image::load_from_memory(&bytes).unwrap();
        assert_eq!((thumbnail.width(), thumbnail.height()), (64, 21));
        let files = std::fs::read_dir(dir.path().join("files")).unwrap();
        assert_eq!(files.count(), 2);
        // One that is small already is its own thumbnail.
        let small = upload(&store, UserId::new(1), "a.png", &picture(8, 8)).await;
        let small = small.unwrap();
        assert_eq!(small.picture.unwrap().thumbnail, small.name);
    }

    /// A thumbnail that cannot be stored refuses the upload, and leaves nothing behind.
    #[tokio::test]
    async fn a_picture_whose_file_is_not_stored_leaves_no_thumbnail() {
        let folder = Arc::new(UploadFolder::temporary());
        let storage = Arc::new(RefusingStorage(Arc::clone(&folder)));
        let mut store = store(FileRules {
            max: 1 << 20,
            ..rules()
        });
        store.parts = Arc::new(StoreParts {
            spool: Arc::clone(&folder),
            storage,
            pictures: PictureInspector::new(64),
            scan: None,
            counters: FileCounters::default(),
        });
        let refused = upload(&store, UserId::new(1), "a.png", &picture(300, 100)).await;
        assert!(matches!(refused, Err(FileRefusal::Failed)), "{refused:?}");
        let left = std::fs::read_dir(folder.path().await.unwrap()).unwrap();
        assert_eq!(left.count(), 0);
    }

    /// A storage that takes thumbnails only.
    #[derive(Debug)]
    struct RefusingStorage(Arc<UploadFolder>);

    #[async_trait::async_trait]
    impl FileStorage for RefusingStorage {
        async fn put(&self, name: &StoredName, file: CompleteFile) -> io::Result<()> {
            if name.as_str().contains("-thumbnail") {
                return self.0.put(name, file).await;
            }
            Err(io::Error::other("the storage is away"))
        }

        async fn length(&self, name: &StoredName) -> io::Result<Option<u64>> {
            self.0.length(name).await
        }

        async fn read(&self, name: &StoredName, part: Range<u64>) -> io::Result<FileReader> {
            self.0.read(name, part).await
        }

        async fn delete(&self, name: &StoredName) -> io::Result<()> {
            self.0.delete(name).await
        }

        async fn stored_before(
            &self,
            time: SystemTime,
            limit: usize,
        ) -> io::Result<Vec<StoredName>> {
            self.0.stored_before(time, limit).await
        }
    }
}
