//! The folder of uploaded files, under names that the server made.
//!
//! A file appears under its name complete and synced, or not at all. Unfinished files of a killed
//! process are removed at the first upload of a later one. With in-memory storage the folder is a
//! temporary one, made at the first upload and removed with the server.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, SeekFrom};

use crate::spool::{CompleteFile, FileReader, UnfinishedFile};
use crate::storage::FileStorage;
use crate::stored_name::{StoredName, is_stem, random_stem};

/// The folder of uploaded files.
#[derive(Debug)]
pub enum UploadFolder {
    /// A permanent folder.
    At {
        /// Its path.
        path: PathBuf,
        /// True if unfinished files of an earlier process were looked for.
        swept: AtomicBool,
    },
    /// A folder that is removed with the server.
    Temporary(OnceLock<tempfile::TempDir>),
}

/// Age at which an unfinished file is removed: far above the time limit of an upload, because
/// several nodes may share the folder.
const UNFINISHED_AGE: Duration = Duration::from_hours(1);

impl UploadFolder {
    /// Returns a folder under the data directory.
    #[must_use]
    pub fn under(data_dir: &Path) -> Self {
        Self::At {
            path: data_dir.join("files"),
            swept: AtomicBool::new(false),
        }
    }

    /// Returns a folder that is removed with the server.
    #[must_use]
    pub const fn temporary() -> Self {
        Self::Temporary(OnceLock::new())
    }

    /// Returns the path of the folder, and makes it if it does not exist.
    pub(crate) async fn path(&self) -> io::Result<&Path> {
        match self {
            Self::At { path, swept } => {
                tokio::fs::create_dir_all(path).await?;
                if !swept.swap(true, Ordering::Relaxed) {
                    let path = path.clone();
                    // Not awaited: no upload waits for a large folder to be read.
                    tokio::task::spawn_blocking(move || {
                        if let Err(error) = sweep(&path) {
                            tracing::debug!(%error, "unfinished uploads not looked for");
                        }
                    });
                }
                Ok(path)
            }
            Self::Temporary(place) => {
                if let Some(dir) = place.get() {
                    return Ok(dir.path());
                }
                let dir = tempfile::Builder::new().prefix("gimlet-files-").tempdir()?;
                Ok(place.get_or_init(|| dir).path())
            }
        }
    }

    /// Removes the unfinished files that a killed process has left in the folder.
    pub(crate) async fn remove_unfinished(&self) {
        let Some(folder) = self.existing().map(Path::to_owned) else {
            return;
        };
        let swept = tokio::task::spawn_blocking(move || sweep(&folder)).await;
        if let Ok(Err(error)) = swept {
            tracing::debug!(%error, "unfinished uploads not looked for");
        }
    }

    /// Begins a new file.
    pub(crate) async fn begin(&self) -> io::Result<UnfinishedFile> {
        let hidden = format!(".{}", random_stem());
        UnfinishedFile::create(self.path().await?.join(hidden)).await
    }

    /// Returns the path of the folder if it may have files.
    fn existing(&self) -> Option<&Path> {
        match self {
            Self::At { path, .. } => Some(path),
            Self::Temporary(place) => place.get().map(tempfile::TempDir::path),
        }
    }

    /// Returns the path of a stored file.
    fn path_of(&self, name: &StoredName) -> io::Result<PathBuf> {
        let folder = self.existing();
        let folder = folder.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(folder.join(name.as_str()))
    }
}

#[async_trait]
impl FileStorage for UploadFolder {
    async fn put(&self, name: &StoredName, file: CompleteFile) -> io::Result<()> {
        // The order makes the file durable before it is visible: content on disk, then the name,
        // then the folder that contains the name.
        let folder = self.path().await?;
        file.move_to(&folder.join(name.as_str())).await?;
        File::open(folder).await?.sync_all().await
    }

    async fn length(&self, name: &StoredName) -> io::Result<Option<u64>> {
        let found = match self.path_of(name) {
            Ok(path) => tokio::fs::metadata(path).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read(&self, name: &StoredName, part: Range<u64>) -> io::Result<FileReader> {
        let mut file = File::open(self.path_of(name)?).await?;
        if part.start > 0 {
            file.seek(SeekFrom::Start(part.start)).await?;
        }
        let length = part.end.saturating_sub(part.start);
        Ok(Box::new(file.take(length)))
    }

    async fn delete(&self, name: &StoredName) -> io::Result<()> {
        let removed = match self.path_of(name) {
            Ok(path) => tokio::fs::remove_file(path).await,
            Err(error) => Err(error),
        };
        removed.or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })
    }

    async fn stored_before(&self, time: SystemTime, limit: usize) -> io::Result<Vec<StoredName>> {
        let Some(folder) = self.existing().map(Path::to_owned) else {
            return Ok(Vec::new());
        };
        let listed = move || list(&folder, time, limit);
        tokio::task::spawn_blocking(listed)
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

/// Lists stored files of the folder that are older than a time.
fn list(folder: &Path, time: SystemTime, limit: usize) -> io::Result<Vec<StoredName>> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        if found.len() >= limit {
            break;
        }
        let entry = entry?;
        let file_name = entry.file_name();
        let Some(name) = file_name.to_str().and_then(StoredName::parse) else {
            continue;
        };
        // A file that another process has removed meanwhile is not listed.
        let stored = entry.metadata().and_then(|it| it.modified());
        if stored.is_ok_and(|stored| stored < time) {
            found.push(name);
        }
    }
    Ok(found)
}

/// Removes the unfinished files that a killed process has left in the folder.
fn sweep(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(stem) = name.to_str().and_then(|name| name.strip_prefix('.')) else {
            continue;
        };
        let age = entry.metadata().and_then(|it| it.modified());
        let age = age.map(|at| at.elapsed().unwrap_or_default());
        if is_stem(stem) && age.is_ok_and(|age| age > UNFINISHED_AGE) {
            std::fs::remove_file(entry.path())?;
            tracing::info!(file = ?name, "removed an unfinished upload of a killed process");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file_kind::of_extension;
    use crate::testkit;

    fn png() -> StoredName {
        StoredName::random(of_extension("png").unwrap())
    }

    fn count(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[tokio::test]
    async fn a_folder_passes_the_cases_of_storages() {
        let dir = tempfile::tempdir().unwrap();
        let folder = UploadFolder::under(dir.path());
        testkit::check_storage(&folder, &folder).await;
        assert_eq!(count(&dir.path().join("files")), 0);
        let temporary = UploadFolder::temporary();
        testkit::check_storage(&temporary, &temporary).await;
    }

    #[tokio::test]
    async fn a_stored_file_is_read_back_and_a_dropped_one_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = UploadFolder::under(dir.path());
        let mut unfinished = folder.begin().await.unwrap();
        unfinished.write(b"abc").await.unwrap();
        let complete = unfinished.complete().await.unwrap();
        let name = png();
        folder.put(&name, complete).await.unwrap();
        assert_eq!(folder.length(&name).await.unwrap(), Some(3));
        drop(folder.begin().await.unwrap());
        drop(folder.begin().await.unwrap().complete().await.unwrap());
        assert_eq!(count(&dir.path().join("files")), 1);
    }

    /// Regression: the unfinished file stayed for ever.
    #[tokio::test]
    async fn a_file_that_cannot_get_its_name_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = UploadFolder::under(dir.path());
        let complete = folder.begin().await.unwrap().complete().await.unwrap();
        let missing = dir.path().join("missing/a.png");
        assert!(complete.move_to(&missing).await.is_err());
        assert_eq!(count(&dir.path().join("files")), 0);
    }

    #[tokio::test]
    async fn unfinished_files_of_a_killed_process_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let files = dir.path().join("files");
        std::fs::create_dir(&files).unwrap();
        let make = |name: String, age: Duration| {
            let path = files.join(name);
            let file = std::fs::File::create(&path).unwrap();
            let now = file.metadata().unwrap().modified().unwrap();
            file.set_modified(now - age).unwrap();
            path
        };
        let old = UNFINISHED_AGE * 2;
        let left = make(format!(".{}", random_stem()), old);
        let kept = [
            make(format!(".{}", random_stem()), Duration::ZERO),
            make(png().to_string(), old),
            make(".somebody-elses".into(), old),
        ];
        let folder = UploadFolder::under(dir.path());
        let unfinished = folder.begin().await.unwrap();
        let gone = async {
            while left.exists() {
                tokio::task::yield_now().await;
            }
        };
        let gone = tokio::time::timeout(Duration::from_secs(10), gone).await;
        assert!(gone.is_ok(), "{left:?} is still there");
        assert!(kept.iter().all(|path| path.exists()));
        drop(unfinished);
    }

    #[tokio::test]
    async fn a_temporary_folder_is_made_late_and_removed_with_it() {
        let folder = UploadFolder::temporary();
        assert_eq!(folder.length(&png()).await.unwrap(), None);
        let unfinished = folder.begin().await.unwrap();
        let path = folder.existing().unwrap().to_owned();
        assert!(path.exists());
        drop(unfinished);
        drop(folder);
        assert!(!path.exists());
    }
}
