//! Collects the commits that become durable while a backup is made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sled::IVec;

/// A row that was set, or the key of one that was removed.
pub(crate) type RowChange = (IVec, Option<IVec>);

/// Largest number of bytes of commits that may wait to be written to the backup. Above it the
/// backup is given up, and the storage continues.
const MAX_PENDING_BYTES: usize = 128 << 20;

/// The place where the writer finds the capture in progress; one backup at a time.
#[derive(Debug, Default)]
pub(crate) struct CaptureSlot(Mutex<Option<Arc<CommitCapture>>>);

impl CaptureSlot {
    /// Returns the capture in progress.
    pub(crate) fn running(&self) -> Option<Arc<CommitCapture>> {
        lock(&self.0).clone()
    }

    /// Begins a capture; returns `None` if one is in progress. Must be called on the writer's
    /// thread, between two commits, so that no commit is captured in part.
    pub(crate) fn begin(&self) -> Option<Arc<CommitCapture>> {
        let mut running = lock(&self.0);
        if running.is_some() {
            return None;
        }
        let capture = Arc::new(CommitCapture::default());
        *running = Some(Arc::clone(&capture));
        Some(capture)
    }

    /// Ends this capture, if it is the one in progress.
    pub(crate) fn end(&self, capture: &Arc<CommitCapture>) {
        let mut running = lock(&self.0);
        if running.as_ref().is_some_and(|it| Arc::ptr_eq(it, capture)) {
            *running = None;
        }
    }
}

/// Commits that wait to be written to the backup.
#[derive(Debug, Default)]
pub(crate) struct CommitCapture(Mutex<PendingCommits>);

#[derive(Debug, Default)]
struct PendingCommits {
    commits: Vec<Vec<RowChange>>,
    bytes: usize,
    behind: Option<usize>,
}

impl CommitCapture {
    /// Adds a durable commit.
    pub(crate) fn leave(&self, changes: Vec<RowChange>) {
        let mut waiting = lock(&self.0);
        if waiting.behind.is_some() {
            return;
        }
        let weight = |(key, value): &RowChange| key.len() + value.as_ref().map_or(0, |it| it.len());
        waiting.bytes += changes.iter().map(weight).sum::<usize>();
        waiting.commits.push(changes);
        if waiting.bytes > MAX_PENDING_BYTES {
            waiting.behind = Some(waiting.bytes);
            waiting.commits = Vec::new();
        }
    }

    /// Takes all waiting commits. `Err` holds their bytes if there were too many.
    pub(crate) fn take(&self) -> Result<Vec<Vec<RowChange>>, usize> {
        let mut waiting = lock(&self.0);
        if let Some(behind) = waiting.behind {
            return Err(behind);
        }
        waiting.bytes = 0;
        Ok(std::mem::take(&mut waiting.commits))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change behind these locks is a single step, so the value behind a poisoned lock is
    // valid.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_that_falls_behind_is_given_up_and_holds_nothing() {
        let captures = CaptureSlot::default();
        let capture = captures.begin().unwrap();
        assert!(captures.begin().is_none(), "one at a time");
        let large = || vec![(IVec::from(&b"k"[..]), Some(IVec::from(vec![0; 40 << 20])))];
        capture.leave(large());
        assert_eq!(capture.take().unwrap().len(), 1);
        for _ in 0..4 {
            capture.leave(large());
        }
        assert!(capture.take().unwrap_err() > MAX_PENDING_BYTES);
        assert!(lock(&capture.0).commits.is_empty());
        captures.end(&capture);
        assert!(captures.running().is_none() && captures.begin().is_some());
    }
}
