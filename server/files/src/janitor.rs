//! Removes files that are older than their retention, and the remains of unfinished uploads.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gimlet_core::time::TimeSource;
use tokio_util::sync::CancellationToken;

use crate::counts::FileCounters;
use crate::store::FileStore;

/// Interval at which old files are removed.
const REMOVAL_INTERVAL: Duration = Duration::from_hours(1);
/// Age at which an upload that was not completed is removed: far above the longest time of an upload.
pub(crate) const UNFINISHED_AGE: Duration = Duration::from_hours(1);
/// Number of names that are read at a time, so that memory is bounded.
const LIST_ITEMS: usize = 500;

impl FileStore {
    /// Removes files that are older than `keep`, and uploads that were not completed within an hour.
    /// Returns the number of removed files. Several nodes may do so at the same time.
    ///
    /// # Errors
    /// The storage fails; what was removed before stays removed.
    pub async fn remove_old(&self, now: SystemTime, keep: Option<Duration>) -> io::Result<u64> {
        self.parts().spool.remove_unfinished().await;
        let mut removed = 0;
        let storage = &self.parts().storage;
        let before = |age: Duration| now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        if let Some(keep) = keep {
            loop {
                let old = storage.stored_before(before(keep), LIST_ITEMS).await?;
                for name in &old {
                    storage.delete(name).await?;
                    removed += 1;
                    FileCounters::add(&self.parts().counters.removed, 1);
                }
                if old.len() < LIST_ITEMS {
                    break;
                }
            }
        }
        if let Some(direct) = storage.direct_uploads() {
            loop {
                let unfinished = direct
                    .sent_before(before(UNFINISHED_AGE), LIST_ITEMS)
                    .await?;
                for name in &unfinished {
                    direct.discard(name).await?;
                }
                if unfinished.len() < LIST_ITEMS {
                    break;
                }
            }
        }
        Ok(removed)
    }

    /// Removes old files now and in each hour, until `stop`.
    pub async fn remove_regularly(
        self,
        keep: Option<Duration>,
        clock: Arc<dyn TimeSource>,
        stop: CancellationToken,
    ) {
        loop {
            let now = u64::try_from(clock.now().0).unwrap_or_default();
            let now = SystemTime::UNIX_EPOCH + Duration::from_millis(now);
            let removal = self.remove_old(now, keep);
            let Some(removed) = stop.run_until_cancelled(removal).await else {
                return;
            };
            match removed {
                Ok(0) => {}
                Ok(files) => tracing::info!(files, "removed files after files.retention"),
                Err(error) => gimlet_core::warn_rated!(%error, "old files could not be removed"),
            }
            let pause = tokio::time::sleep(REMOVAL_INTERVAL);
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::UploadBounds;
    use crate::refusal::FileRefusal;
    use crate::store::FileRules;
    use crate::upload_folder::UploadFolder;

    fn store(folder: UploadFolder) -> FileStore {
        let bounds = UploadBounds {
            min_free: 0,
            each: 0,
        };
        let rules = FileRules {
            max: 1_000,
            anonymous: true,
            bounds,
            thumbnail_side: 0,
        };
        FileStore::new(folder, rules)
    }

    async fn upload(store: &FileStore) -> String {
        let mut upload = store.begin(None).unwrap();
        upload.name("a.txt");
        upload.write(b"text").await.unwrap();
        let complete = upload.finish().await.unwrap();
        let stored = complete.store::<FileRefusal>(async { Ok(()) }).await;
        stored.unwrap().name.to_string()
    }

    #[tokio::test]
    async fn files_are_removed_after_their_time_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(UploadFolder::under(dir.path()));
        let (old, new) = (upload(&store).await, upload(&store).await);
        let files = dir.path().join("files");
        let file = std::fs::File::options().append(true).open(files.join(&old));
        let stored = file
            .as_ref()
            .unwrap()
            .metadata()
            .unwrap()
            .modified()
            .unwrap();
        let day = Duration::from_hours(24);
        file.unwrap().set_modified(stored - day).unwrap();
        std::fs::write(files.join("not-ours.txt"), "x").unwrap();
        assert_eq!(store.remove_old(stored, None).await.unwrap(), 0);
        assert_eq!(store.remove_old(stored, Some(day * 2)).await.unwrap(), 0);
        let removed = store.remove_old(stored, Some(day / 2)).await.unwrap();
        assert_eq!(removed, 1);
        assert!(store.open(&old).await.unwrap().is_none());
        assert!(store.open(&new).await.unwrap().is_some());
        assert!(files.join("not-ours.txt").exists());
        assert_eq!(store.counts().removed, 1);
    }

    #[tokio::test]
    async fn more_files_than_are_listed_at_a_time_are_removed() {
        let store = store(UploadFolder::temporary());
        for _ in 0..=LIST_ITEMS {
            upload(&store).await;
        }
        let later = SystemTime::UNIX_EPOCH + Duration::from_hours(24) * 365 * 200;
        let removed = store.remove_old(later, Some(Duration::ZERO)).await.unwrap();
        assert_eq!(removed, LIST_ITEMS as u64 + 1);
    }
}
