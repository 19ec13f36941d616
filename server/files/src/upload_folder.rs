//! The folder of uploaded files, under names that the server made.
//!
//! A file appears under its name complete and synced, or not at all. Unfinished files of a killed
//! process are removed at the first upload of a later one. With in-memory storage the folder is a
//! temporary one, made at the first upload and removed with the server.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::RngExt as _;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

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
/// Letters and digits of a stored file's name.
const NAME_LEN: usize = 32;
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

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

    /// Begins a new file.
    pub(crate) async fn begin(&self) -> io::Result<UnfinishedFile> {
        let folder = self.path().await?.to_owned();
        let temporary = folder.join(format!(".{}", random_name()));
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .await?;
        Ok(UnfinishedFile {
            folder,
            temporary: Some(temporary),
            file,
        })
    }

    /// Opens a stored file for reading; `None` if the server did not make this name, or the file is
    /// gone.
    pub(crate) async fn read(&self, name: &str) -> io::Result<Option<(File, u64)>> {
        let folder = match self {
            Self::At { path, .. } => path.as_path(),
            Self::Temporary(place) => match place.get() {
                Some(dir) => dir.path(),
                None => return Ok(None),
            },
        };
        if !is_stored_name(name) {
            return Ok(None);
        }
        match File::open(folder.join(name)).await {
            Ok(file) => {
                let length = file.metadata().await?.len();
                Ok(Some((file, length)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// An unfinished file, removed if it is dropped before [`keep`](Self::keep).
#[derive(Debug)]
pub(crate) struct UnfinishedFile {
    folder: PathBuf,
    temporary: Option<PathBuf>,
    file: File,
}

impl UnfinishedFile {
    /// Appends bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await
    }

    /// Syncs the file, gives it its name, and returns the name.
    pub(crate) async fn keep(mut self, extension: &str) -> io::Result<String> {
        // The order makes the file durable before it is visible: content on disk, then the name,
        // then the folder that contains the name.
        self.file.flush().await?;
        self.file.sync_all().await?;
        let name = format!("{}.{extension}", random_name());
        if let Some(temporary) = &self.temporary {
            tokio::fs::rename(temporary, self.folder.join(&name)).await?;
        }
        // Only now: if the renaming fails, the drop removes the file.
        self.temporary = None;
        File::open(&self.folder).await?.sync_all().await?;
        Ok(name)
    }
}

impl Drop for UnfinishedFile {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take()
            && let Err(error) = std::fs::remove_file(&temporary)
        {
            tracing::debug!(%error, "an unfinished upload stays behind");
        }
    }
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

/// Returns 160 random bits: anyone who knows the name may read the file, so it must not be
/// guessable.
fn random_name() -> String {
    let mut rng = rand::rng();
    (0..NAME_LEN)
        .filter_map(|_| ALPHABET.get(rng.random_range(0..ALPHABET.len())))
        .map(|&letter| char::from(letter))
        .collect()
}

fn is_stored_name(name: &str) -> bool {
    name.split_once('.').is_some_and(|(stem, extension)| {
        is_stem(stem) && crate::file_kind::of_extension(extension).is_some()
    })
}

/// Returns `true` for a name that [`random_name`] may have made.
fn is_stem(stem: &str) -> bool {
    stem.len() == NAME_LEN && stem.bytes().all(|b| ALPHABET.contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kept_file_is_read_back_and_a_dropped_one_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = UploadFolder::under(dir.path());
        let mut draft = folder.begin().await.unwrap();
        draft.write(b"abc").await.unwrap();
        let name = draft.keep("png").await.unwrap();
        assert_eq!(folder.read(&name).await.unwrap().unwrap().1, 3);
        drop(folder.begin().await.unwrap());
        let left = std::fs::read_dir(dir.path().join("files")).unwrap().count();
        assert_eq!(left, 1);
    }

    /// Regression: the unfinished file stayed for ever.
    #[tokio::test]
    async fn a_file_that_cannot_get_its_name_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = UploadFolder::under(dir.path());
        let mut draft = folder.begin().await.unwrap();
        draft.folder = dir.path().join("missing");
        assert!(draft.keep("png").await.is_err());
        let left = std::fs::read_dir(dir.path().join("files")).unwrap().count();
        assert_eq!(left, 0);
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
        let left = make(format!(".{}", random_name()), old);
        let kept = [
            make(format!(".{}", random_name()), Duration::ZERO),
            make(format!("{}.png", random_name()), old),
            make(".somebody-elses".into(), old),
        ];
        let folder = UploadFolder::under(dir.path());
        let draft = folder.begin().await.unwrap();
        let gone = async {
            while left.exists() {
                tokio::task::yield_now().await;
            }
        };
        let gone = tokio::time::timeout(Duration::from_secs(10), gone).await;
        assert!(gone.is_ok(), "{left:?} is still there");
        assert!(kept.iter().all(|path| path.exists()));
        draft.keep("png").await.unwrap();
    }

    #[tokio::test]
    async fn only_names_this_server_made_are_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secret.txt"), "x").unwrap();
        let folder = UploadFolder::under(dir.path());
        for name in [
            "../secret.txt",
            "..%2fsecret.txt",
            "secret.txt",
            ".",
            "",
            "/etc/passwd",
        ] {
            assert!(folder.read(name).await.unwrap().is_none(), "{name}");
        }
    }

    #[tokio::test]
    async fn a_temporary_folder_is_made_late_and_removed_with_it() {
        let folder = UploadFolder::temporary();
        assert!(folder.read("a.png").await.unwrap().is_none());
        let draft = folder.begin().await.unwrap();
        let path = draft.folder.clone();
        assert!(path.exists());
        drop(draft);
        drop(folder);
        assert!(!path.exists());
    }
}
