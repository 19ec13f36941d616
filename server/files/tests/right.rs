//! The right to upload may end before the file is stored.
#![expect(clippy::unwrap_used, reason = "a failed test should panic")]

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::io::{self, Cursor};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use gimlet_core::id::UserId;
use gimlet_files::{
    CompleteFile, DirectUploads, FileParts, FileReader, FileRefusal, FileRules, FileStorage,
    FileStore, PendingName, StoredName, UploadBounds, UploadFolder,
};

const CONTENT: &[u8] = b"%PDF-1.7";

/// A storage in memory that takes files from clients.
#[derive(Debug, Default)]
struct MemoryStorage {
    stored: Mutex<Vec<StoredName>>,
    sent: Mutex<HashMap<String, Vec<u8>>>,
}

#[async_trait::async_trait]
impl FileStorage for MemoryStorage {
    async fn put(&self, name: &StoredName, _: CompleteFile) -> io::Result<()> {
        self.stored.lock().unwrap().push(name.clone());
        Ok(())
    }

    async fn length(&self, _: &StoredName) -> io::Result<Option<u64>> {
        Ok(None)
    }

    async fn read(&self, _: &StoredName, _: Range<u64>) -> io::Result<FileReader> {
        Err(io::ErrorKind::NotFound.into())
    }

    async fn delete(&self, _: &StoredName) -> io::Result<()> {
        Ok(())
    }

    async fn stored_before(&self, _: SystemTime, _: usize) -> io::Result<Vec<StoredName>> {
        Ok(Vec::new())
    }

    fn direct_uploads(&self) -> Option<&dyn DirectUploads> {
        Some(self)
    }
}

#[async_trait::async_trait]
impl DirectUploads for MemoryStorage {
    async fn address(&self, upload: &PendingName, _: Duration) -> io::Result<String> {
        Ok(upload.to_string())
    }

    async fn received(&self, upload: &PendingName) -> io::Result<Option<(u64, FileReader)>> {
        let content = self.sent.lock().unwrap().get(&upload.to_string()).cloned();
        Ok(content.map(|content| {
            let length = content.len() as u64;
            (length, Box::new(Cursor::new(content)) as FileReader)
        }))
    }

    async fn discard(&self, upload: &PendingName) -> io::Result<()> {
        self.sent.lock().unwrap().remove(&upload.to_string());
        Ok(())
    }

    async fn sent_before(&self, _: SystemTime, _: usize) -> io::Result<Vec<PendingName>> {
        Ok(Vec::new())
    }
}

fn store(storage: &Arc<MemoryStorage>) -> FileStore {
    let parts = FileParts {
        spool: UploadFolder::temporary(),
        storage: Some(Arc::clone(storage) as _),
        scan: None,
    };
    let rules = FileRules {
        max: 1_000,
        anonymous: false,
        bounds: UploadBounds {
            min_free: 0,
            each: CONTENT.len() as u64,
        },
        thumbnail_side: 0,
    };
    FileStore::with_parts(parts, rules)
}

fn may_upload(allowed: bool) -> Ready<Result<(), FileRefusal>> {
    ready(if allowed {
        Ok(())
    } else {
        Err(FileRefusal::SignInRequired)
    })
}

#[tokio::test]
async fn an_upload_whose_right_has_ended_leaves_no_file_and_takes_no_quota() {
    let storage = Arc::new(MemoryStorage::default());
    let store = store(&storage);
    let user = UserId::new(7);
    let complete = || async {
        let mut upload = store.begin(user).unwrap();
        upload.name("a.pdf");
        upload.write(CONTENT).await.unwrap();
        upload.finish().await.unwrap()
    };
    let refused = complete().await.store(may_upload(false)).await;
    assert!(matches!(refused, Err(FileRefusal::SignInRequired)));
    assert_eq!(storage.stored.lock().unwrap().len(), 0);
    assert_eq!((store.counts().stored, store.counts().refused), (0, 1));
    // The quota has room for one file.
    let stored = complete().await.store(may_upload(true)).await.unwrap();
    assert_eq!(*storage.stored.lock().unwrap(), [stored.name]);
}

#[tokio::test]
async fn a_sent_file_stays_until_one_with_the_right_completes_it() {
    let storage = Arc::new(MemoryStorage::default());
    let store = store(&storage);
    let user = UserId::new(7).unwrap();
    let presigned = store.presign(user, CONTENT.len() as u64).await.unwrap();
    let sent = || storage.sent.lock().unwrap().len();
    let content = CONTENT.to_vec();
    storage.sent.lock().unwrap().insert(presigned.url, content);
    for allowed in [false, true] {
        let complete = store.complete(user, &presigned.id, "a.pdf").await;
        let complete = complete.unwrap().unwrap();
        let stored = complete.store(may_upload(allowed)).await;
        assert_eq!(stored.is_ok(), allowed, "{stored:?}");
        assert_eq!(storage.stored.lock().unwrap().len(), usize::from(allowed));
        assert_eq!(sent(), usize::from(!allowed));
    }
}
