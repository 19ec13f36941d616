//! Writes a backup: of a storage in use, or of a directory that no process has open.

use std::io::Write;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use gimlet_core::time::SystemClock;
use sled::{IVec, Tree};

use super::BackupError;
use super::format::{BackupCounts, BackupWriter};
use crate::capture::CommitCapture;
use crate::config::Config;
use crate::shared::SharedState;
use crate::space::SpaceEffect;
use crate::store::SledStore;

/// Bytes of rows read in one step; commits are written between the steps.
const STEP_BYTES: usize = 1 << 20;

/// Contents of a backup so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportProgress {
    /// Rows that were read.
    pub rows: u64,
    /// Commits made during the backup and contained in it.
    pub commits: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// Makes backups of an open storage. It does not keep the storage open.
#[derive(Clone, Debug)]
pub struct BackupExporter(Weak<SledStore>);

impl BackupExporter {
    pub(crate) fn new(store: &Arc<SledStore>) -> Self {
        Self(Arc::downgrade(store))
    }

    /// Runs a check on the tree. The caller must be the only user of the storage.
    pub(crate) fn with_tree<T>(
        &self,
        check: impl FnOnce(&Tree) -> Result<T, BackupError>,
    ) -> Result<T, BackupError> {
        let store = self.0.upgrade().ok_or(BackupError::Closed)?;
        // sled panics on some kinds of damage instead of reporting them.
        let checked = catch_unwind(AssertUnwindSafe(|| check(store.shared.tree())));
        checked.unwrap_or_else(|_| {
            Err(BackupError::Storage(
                "sled panicked while reading it".into(),
            ))
        })
    }

    /// Writes all rows as of one moment between the call and its return; sends continue meanwhile.
    /// The caller adds uploaded files and finishes the backup. This blocks, and must not run on a
    /// thread of the runtime.
    ///
    /// `step` is called between the steps; an error from it, or from the writer, ends the backup.
    ///
    /// The order matters: the capture begins before the walk, and the last drain comes after the
    /// barrier. So every commit that the walk may have seen in part is contained whole.
    pub fn export<W: Write>(
        &self,
        out: &mut BackupWriter<W>,
        step: impl FnMut(ExportProgress) -> std::io::Result<()>,
    ) -> Result<ExportProgress, BackupError> {
        let store = self.0.upgrade().ok_or(BackupError::Closed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let running = runtime.block_on(begin(&store))?;
        walk(store.shared.tree(), &running.capture, out, step)?;
        // The writer answers this command after all commits before it, so every commit that the
        // walk may have seen is durable and captured now.
        runtime.block_on(barrier(&store))?;
        drain(&running.capture, out)?;
        Ok(exported(out))
    }
}

/// Writes all rows of a directory that no process has open.
pub fn export_closed<W: Write>(
    config: &Config,
    out: &mut BackupWriter<W>,
    step: impl FnMut(ExportProgress) -> std::io::Result<()>,
) -> Result<ExportProgress, BackupError> {
    let opened = crate::open(config, Arc::new(SystemClock))?;
    let health = opened.health.clone();
    let outcome = opened.exporter().export(out, step);
    drop(opened);
    // Wait, so that the directory can be opened again when this returns.
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(health.closed());
    outcome
}

/// A capture that ends when this is dropped.
struct RunningCapture {
    shared: Arc<SharedState>,
    capture: Arc<CommitCapture>,
}

impl RunningCapture {
    /// Begins a capture; returns `None` if one is in progress. Must be called as
    /// [`CaptureSlot::begin`](crate::capture::CaptureSlot::begin).
    fn begin(shared: Arc<SharedState>) -> Option<Self> {
        let capture = shared.captures.begin()?;
        Some(Self { shared, capture })
    }
}

impl Drop for RunningCapture {
    fn drop(&mut self) {
        self.shared.captures.end(&self.capture);
    }
}

/// Begins the capture between two commits: earlier commits are in the tree, and every later one is
/// captured.
///
/// The command returns the guard, not the capture alone: if the commit fails, or the caller is
/// gone, the answer is dropped, and the capture ends with it.
async fn begin(store: &SledStore) -> Result<RunningCapture, BackupError> {
    let shared = Arc::clone(&store.shared);
    let register =
        move |_: &mut crate::txn::WriteTransaction<'_>| Ok(RunningCapture::begin(shared));
    let running = store
        .change("backup.begin", SpaceEffect::Removes, register)
        .await;
    let running = running.map_err(|error| BackupError::Storage(crate::error::chain(&error)))?;
    running.ok_or(BackupError::Busy)
}

async fn barrier(store: &SledStore) -> Result<(), BackupError> {
    let nothing = |_: &mut crate::txn::WriteTransaction<'_>| Ok(());
    let done = store
        .change("backup.end", SpaceEffect::Removes, nothing)
        .await;
    done.map_err(|error| BackupError::Storage(crate::error::chain(&error)))
}

/// Walks over the tree. The waiting commits are written before each step, so a row that is read
/// afterwards is at least as new as they are. Commits made after the row was read are written after
/// it.
///
/// The walk ends at the row that is the last one at its start. Rows behind it are of commits that
/// the capture contains; a walk that followed them would not end while events are written.
fn walk<W: Write>(
    tree: &Tree,
    capture: &CommitCapture,
    out: &mut BackupWriter<W>,
    mut step: impl FnMut(ExportProgress) -> std::io::Result<()>,
) -> Result<(), BackupError> {
    let Some((end, _)) = tree
        .last()
        .map_err(|error| BackupError::Storage(error.to_string()))?
    else {
        return drain(capture, out);
    };
    let mut from = Bound::Unbounded;
    loop {
        drain(capture, out)?;
        let rows = read(tree, from, &end)?;
        let Some((last, _)) = rows.last() else {
            return Ok(());
        };
        let last = last.clone();
        out.rows(&rows)?;
        step(exported(out))?;
        if last >= end {
            return Ok(());
        }
        from = Bound::Excluded(last);
    }
}

/// Reads the next rows up to the key `end`.
fn read(tree: &Tree, from: Bound<IVec>, end: &IVec) -> Result<Vec<(IVec, IVec)>, BackupError> {
    // sled panics on some kinds of damage instead of reporting them.
    let read = catch_unwind(AssertUnwindSafe(|| {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        for row in tree.range((from, Bound::Included(end.clone()))) {
            let (key, value) = row?;
            bytes += key.len() + value.len();
            rows.push((key, value));
            if bytes >= STEP_BYTES {
                break;
            }
        }
        Ok(rows)
    }));
    match read {
        Ok(Ok(rows)) => Ok(rows),
        Ok(Err(error)) => {
            let error: sled::Error = error;
            Err(BackupError::Storage(error.to_string()))
        }
        Err(_) => Err(BackupError::Storage(
            "sled panicked while reading it".into(),
        )),
    }
}

fn drain<W: Write>(capture: &CommitCapture, out: &mut BackupWriter<W>) -> Result<(), BackupError> {
    let waiting = capture.take();
    for commit in waiting.map_err(|behind| BackupError::Behind { behind })? {
        out.commit(&commit)?;
    }
    Ok(())
}

fn exported<W: Write>(out: &BackupWriter<W>) -> ExportProgress {
    let BackupCounts { rows, commits, .. } = out.counts();
    ExportProgress {
        rows,
        commits,
        bytes: out.bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression: a capture whose commit failed never ended. Every later backup was refused as
    /// busy, and up to 128 MiB of commits stayed in memory.
    #[tokio::test]
    async fn a_capture_ends_if_its_commit_fails() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            min_free: 0,
            ..Config::new(dir.path())
        };
        let opened = crate::open(&config, Arc::new(SystemClock)).unwrap();
        let store = opened.exporter().0.upgrade().unwrap();
        // The first command holds the writer until the others wait, so that all three are in one
        // commit. The last one makes that commit fail before anything is applied.
        let (release, released) = std::sync::mpsc::channel::<()>();
        let holding = store.change("test.hold", SpaceEffect::Removes, move |_| {
            Ok(released.recv().is_ok())
        });
        let shared = Arc::clone(&store.shared);
        let fail = store.change("test.fail", SpaceEffect::Removes, move |_| {
            shared.fail("on purpose");
            Ok(())
        });
        let (held, begun, failed, ()) = tokio::join!(holding, begin(&store), fail, async {
            release.send(()).unwrap();
        });
        assert!(held.is_err() && begun.is_err() && failed.is_err());
        assert!(store.shared.captures.running().is_none());
    }
}
