//! Stores for a client's cursor between runs. A cursor belongs to one user on one device; two
//! clients must not share a store.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A position in a user's inbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCursor {
    /// The epoch of the numbering; 0 if no server has named one yet.
    pub epoch: u64,
    /// Every entry up to and including this one was handled by the application.
    pub seq: i64,
}

/// Stores a cursor. Called from threads that may block, one call at a time.
///
/// A lost save causes repeated events after the next start, but never lost ones.
pub trait CursorStore: Send + Sync + 'static {
    /// Returns the last saved cursor, or `None`.
    fn load(&self) -> io::Result<Option<ClientCursor>>;
    /// Replaces the cursor. After a failure the old one must still be readable.
    fn save(&self, cursor: ClientCursor) -> io::Result<()>;
}

/// Keeps the cursor for the life of the process, across several clients one after another.
#[derive(Debug, Default)]
pub struct MemoryCursor(Mutex<Option<ClientCursor>>);

impl CursorStore for MemoryCursor {
    fn load(&self) -> io::Result<Option<ClientCursor>> {
        Ok(*self.0.lock().map_err(|_| poisoned())?)
    }

    fn save(&self, cursor: ClientCursor) -> io::Result<()> {
        *self.0.lock().map_err(|_| poisoned())? = Some(cursor);
        Ok(())
    }
}

fn poisoned() -> io::Error {
    io::Error::other("another thread panicked while it saved the cursor")
}

/// Keeps the cursor in a small text file, which is replaced as a whole.
///
/// The file survives the end of the process. It is not synced to disk at each save: after a power
/// failure an older cursor may come back, which repeats events.
#[derive(Debug)]
pub struct FileCursor {
    path: PathBuf,
}

impl FileCursor {
    /// Uses the file `path`, which need not exist; its folder must.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Returns the path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl CursorStore for FileCursor {
    fn load(&self) -> io::Result<Option<ClientCursor>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        parse(&text).map(Some).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{} should hold two numbers, epoch and seq; remove it to start over",
                    self.path.display()
                ),
            )
        })
    }

    fn save(&self, cursor: ClientCursor) -> io::Result<()> {
        let new = self.path.with_added_extension("new");
        let mut file = fs::File::create(&new)?;
        writeln!(file, "{} {}", cursor.epoch, cursor.seq)?;
        drop(file);
        fs::rename(&new, &self.path)
    }
}

fn parse(text: &str) -> Option<ClientCursor> {
    let mut words = text.split_ascii_whitespace();
    let epoch = words.next()?.parse().ok()?;
    let seq = words.next()?.parse().ok().filter(|seq| *seq >= 0)?;
    words
        .next()
        .is_none()
        .then_some(ClientCursor { epoch, seq })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_back_what_was_saved_last() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileCursor::new(dir.path().join("cursor"));
        assert_eq!(store.load().unwrap(), None);
        for seq in [3, 9] {
            store
                .save(ClientCursor {
                    epoch: u64::MAX,
                    seq,
                })
                .unwrap();
        }
        let again = FileCursor::new(store.path());
        assert_eq!(
            again.load().unwrap(),
            Some(ClientCursor {
                epoch: u64::MAX,
                seq: 9
            })
        );
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileCursor::new(dir.path().join("cursor"));
        for text in ["", "1", "1 -2", "a b", "1 2 3"] {
            fs::write(store.path(), text).unwrap();
            let error = store.load().unwrap_err().to_string();
            assert!(error.contains("cursor"), "{error}");
        }
    }
}
