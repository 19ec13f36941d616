//! The service of uploaded files: begins uploads and opens stored files.

use std::sync::Arc;

use gimlet_core::id::UserId;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, SeekFrom, Take};
use tokio::sync::Semaphore;

use crate::file_kind::{self, FileKind};
use crate::quota::{UploadBounds, UploadQuota};
use crate::refusal::FileRefusal;
use crate::upload::FileUpload;
use crate::upload_folder::UploadFolder;

/// Concurrent uploads; more are asked to try again.
const MAX_CONCURRENT_UPLOADS: usize = 32;

/// The operator's rules for uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRules {
    /// Size of the largest file, in bytes.
    pub max: u64,
    /// True if uploads need no sign-in.
    pub anonymous: bool,
    /// Bounds of the amount that may be uploaded.
    pub bounds: UploadBounds,
}

/// The service of uploaded files. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FileStore {
    folder: Arc<UploadFolder>,
    rules: FileRules,
    quota: UploadQuota,
    permits: Arc<Semaphore>,
}

/// A stored file, opened for reading.
#[derive(Debug)]
pub struct StoredFile {
    file: File,
    /// Its length, in bytes.
    pub length: u64,
    /// Its kind, by the name that it was stored under.
    pub kind: FileKind,
}

impl StoredFile {
    /// Returns a part of the file: `length` bytes from `first` on.
    ///
    /// # Errors
    /// [`FileRefusal::Failed`]
    pub async fn part(mut self, first: u64, length: u64) -> Result<Take<File>, FileRefusal> {
        if first > 0 {
            let sought = self.file.seek(SeekFrom::Start(first)).await;
            sought.map_err(|error| FileRefusal::of_disk(&error))?;
        }
        Ok(self.file.take(length))
    }
}

impl FileStore {
    /// Creates the service over a folder.
    #[must_use]
    pub fn new(folder: UploadFolder, rules: FileRules) -> Self {
        Self {
            folder: Arc::new(folder),
            rules,
            quota: UploadQuota::new(rules.bounds),
            permits: Arc::new(Semaphore::new(MAX_CONCURRENT_UPLOADS)),
        }
    }

    /// Returns the rules, for doors that refuse a request by its header.
    #[must_use]
    pub const fn rules(&self) -> &FileRules {
        &self.rules
    }

    /// Begins an upload of a user, whose sign-in the door has checked; `None` is a client without
    /// one.
    ///
    /// # Errors
    /// Uploads need a sign-in, or too many are in progress.
    pub fn begin(&self, user: Option<UserId>) -> Result<FileUpload, FileRefusal> {
        if user.is_none() && !self.rules.anonymous {
            return Err(FileRefusal::SignInRequired);
        }
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| FileRefusal::Busy)?;
        let folder = Arc::clone(&self.folder);
        let usage = self.quota.begin(user);
        Ok(FileUpload::new(folder, self.rules.max, usage, permit))
    }

    /// Opens a stored file; `None` if this server did not make the name, or the file is gone.
    ///
    /// # Errors
    /// [`FileRefusal::Failed`]
    pub async fn open(&self, name: &str) -> Result<Option<StoredFile>, FileRefusal> {
        let found = self.folder.read(name).await;
        let found = found.map_err(|error| FileRefusal::of_disk(&error))?;
        let extension = name.rsplit_once('.').map(|(_, extension)| extension);
        let kind = extension.and_then(file_kind::of_extension);
        let stored = found.zip(kind);
        Ok(stored.map(|((file, length), kind)| StoredFile { file, length, kind }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        }
    }

    fn png(length: usize) -> Vec<u8> {
        let mut content = b"\x89PNG\r\n\x1a\n".to_vec();
        content.resize(length, 7);
        content
    }

    /// Uploads the content in chunks of 100 bytes and returns the name of the stored file.
    async fn upload(
        store: &FileStore,
        user: Option<UserId>,
        name: &str,
        content: &[u8],
    ) -> Result<String, FileRefusal> {
        let mut upload = store.begin(user)?;
        upload.name(name);
        for chunk in content.chunks(100) {
            upload.write(chunk).await?;
        }
        upload.finish().await
    }

    #[tokio::test]
    async fn a_file_is_read_back_with_the_kind_of_its_content() {
        let store = store(rules());
        let user = UserId::new(1);
        for length in [9, 511, 512, 513, 1_000] {
            let name = upload(&store, user, "avatar.jpg", &png(length))
                .await
                .unwrap();
            let extension = name.split_once('.').map(|(_, extension)| extension);
            assert_eq!(extension, Some("png"));
            let stored = store.open(&name).await.unwrap().unwrap();
            assert_eq!(
                (stored.length, stored.kind.mime),
                (length as u64, "image/png")
            );
            let mut content = Vec::new();
            let mut part = stored.part(3, 5).await.unwrap();
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
}
