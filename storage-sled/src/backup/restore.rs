//! Restores a backup into an empty directory, whole or not at all, under an epoch of its own.
//!
//! The rows are built in a directory inside of the target, `restoring`, and moved into the target
//! when all of them are there and synced; `FORMAT` is written last. gimlet refuses to open a
//! directory without `FORMAT` that holds `restoring` or `db`, so a restore that was interrupted at
//! any step is noticed.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gimlet_core::id::Epoch;
use gimlet_core::time::SystemClock;
use gimlet_proto::store::Meta;
use prost::Message as _;
use sled::{Batch, Db};

use super::BackupError;
use super::format::{BackupFrame, BackupReader};
use crate::config::Config;
use crate::error::OpenError;
use crate::files::{self, FORMAT_VERSION, RESTORING};
use crate::key;
use crate::rows::SINGLE_ROW;

/// Directory of the uploaded files, next to the database.
const UPLOADS_DIR: &str = "files";
/// Rows of one batch. sled frees the memory of a larger one only when it ends.
const BATCH_ROWS: usize = 500;

/// Result of a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreSummary {
    /// Rows, including those that a later commit of the backup has replaced.
    pub rows: u64,
    /// Uploaded files.
    pub files: u64,
    /// The new epoch: clients of the extension start over.
    pub epoch: Epoch,
}

/// Restores a backup into the directory of the configuration. It blocks.
///
/// `step` is called with the bytes read so far; an error from it ends the restore.
pub fn restore(
    config: &Config,
    input: impl Read,
    mut step: impl FnMut(u64) -> io::Result<()>,
) -> Result<RestoreSummary, BackupError> {
    let dir = config.dir.as_path();
    make_empty(dir)?;
    let draft = dir.join(RESTORING);
    fs::create_dir(&draft)?;
    let outcome = build(config, &draft, input, &mut step);
    let restored = match outcome {
        Ok(restored) => restored,
        Err(error) => {
            // The draft was created here and is useless now.
            let _ = fs::remove_dir_all(&draft);
            return Err(error);
        }
    };
    settle(dir, &draft)?;
    open_once(config)?;
    Ok(restored)
}

/// Opens a directory once, so that everything an opening writes into it is there before its first
/// use.
pub(crate) fn open_once(config: &Config) -> Result<(), BackupError> {
    let opened = crate::open(config, Arc::new(SystemClock))?;
    let health = opened.health.clone();
    drop(opened);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(health.closed());
    Ok(())
}

/// Refuses a directory that is not empty; creates one that is missing.
pub(crate) fn make_empty(dir: &Path) -> Result<(), BackupError> {
    match fs::read_dir(dir) {
        Ok(entries) => {
            for entry in entries {
                // The root of a file system contains this directory.
                if entry?.file_name() != "lost+found" {
                    return Err(BackupError::NotEmpty { dir: dir.into() });
                }
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(fs::create_dir_all(dir)?),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(OpenError::NotADirectory { dir: dir.into() }.into())
        }
        Err(error) => Err(error.into()),
    }
}

fn build(
    config: &Config,
    draft: &Path,
    input: impl Read,
    step: &mut impl FnMut(u64) -> io::Result<()>,
) -> Result<RestoreSummary, BackupError> {
    let mut reader = BackupReader::new(input)?;
    let sled = sled::Config::new()
        .path(draft)
        .cache_capacity(config.cache_bytes)
        .flush_every_ms(None);
    let db = sled.open().map_err(|error| failed(&error))?;
    let mut restored = RestoreSummary {
        rows: 0,
        files: 0,
        epoch: Epoch::draw(),
    };
    let mut files = UploadedFiles::new(draft.join(UPLOADS_DIR));
    while let Some(frame) = reader.next_frame()? {
        match frame {
            BackupFrame::Rows(rows) => {
                restored.rows += rows.len() as u64;
                put(&db, rows)?;
            }
            BackupFrame::File(name) => {
                restored.files += 1;
                files.begin(&name)?;
            }
            BackupFrame::Data(bytes) => files.write(&bytes)?,
        }
        step(reader.bytes())?;
    }
    files.end()?;
    // Before the flush: no complete copy may ever exist under the epoch of the backup.
    renew(&db, restored.epoch)?;
    db.flush().map_err(|error| failed(&error))?;
    // This is the last handle: dropping it ends sled's threads and closes its files.
    drop(db);
    // Before the caller moves the files: only durable files may get their final names.
    sync_all(draft)?;
    Ok(restored)
}

fn put(db: &Db, rows: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), BackupError> {
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let mut batch = Batch::default();
        for (key, value) in rows.by_ref().take(BATCH_ROWS) {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        db.apply_batch(batch).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Sets a new epoch (law 10): changes answered after the backup are gone, and their numbers will be
/// given out again.
fn renew(db: &Db, epoch: Epoch) -> Result<(), BackupError> {
    let damaged = |what: &str| BackupError::Damaged(what.to_owned());
    let row = db.get(key::META).map_err(|error| failed(&error))?;
    let row = row.ok_or_else(|| damaged("it holds no database of gimlet"))?;
    let mut meta = match row.split_first() {
        Some((&SINGLE_ROW, record)) => Meta::decode(record).ok(),
        _ => None,
    }
    .ok_or_else(|| damaged("its first record cannot be read"))?;
    if meta.format != FORMAT_VERSION {
        return Err(damaged(&format!(
            "its storage has format {}, and this version reads format {FORMAT_VERSION}",
            meta.format
        )));
    }
    meta.epoch = epoch.0;
    let mut value = vec![SINGLE_ROW];
    value.extend(meta.encode_to_vec());
    db.insert(key::META, value)
        .map_err(|error| failed(&error))?;
    Ok(())
}

fn failed(error: &sled::Error) -> BackupError {
    BackupError::Storage(error.to_string())
}

/// Writes the uploaded files, one after the other.
struct UploadedFiles {
    dir: PathBuf,
    open: Option<File>,
}

impl UploadedFiles {
    const fn new(dir: PathBuf) -> Self {
        Self { dir, open: None }
    }

    fn begin(&mut self, name: &str) -> Result<(), BackupError> {
        self.end()?;
        // The backup may come from anyone, so a name must not lead out of the directory.
        let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        if !plain {
            return Err(BackupError::Damaged(format!(
                "{name:?} is not a plain file name"
            )));
        }
        fs::create_dir_all(&self.dir)?;
        self.open = Some(File::create_new(self.dir.join(name))?);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        match &mut self.open {
            Some(file) => Ok(file.write_all(bytes)?),
            None => Err(BackupError::Damaged(
                "file data comes before any file name".into(),
            )),
        }
    }

    fn end(&mut self) -> Result<(), BackupError> {
        if let Some(file) = self.open.take() {
            file.sync_all()?;
        }
        Ok(())
    }
}

/// Syncs every file and directory below this one.
pub(crate) fn sync_all(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(dir)?.sync_all()
}

/// Moves the draft's content to its place.
///
/// The order matters: the draft is removed when all its content has moved durably, and the format
/// file, which marks a complete directory, is written last. Until then the draft or `db` is there,
/// and the directory does not open.
pub(crate) fn settle(dir: &Path, draft: &Path) -> Result<(), BackupError> {
    for entry in fs::read_dir(draft)? {
        let name = entry?.file_name();
        fs::rename(draft.join(&name), dir.join(&name))?;
    }
    files::sync_dir(dir)?;
    fs::remove_dir(draft)?;
    files::sync_dir(dir)?;
    files::write_format(dir)?;
    Ok(())
}
