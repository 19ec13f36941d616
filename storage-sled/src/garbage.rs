//! Frees the old page copies that commits leave behind, so that sled's memory stays bounded.
//!
//! sled copies a page for every row that it sets. `crossbeam-epoch` frees the old copy in small
//! steps, which run when a thread pins an epoch. A batch pins once, however many rows it sets, so
//! back-to-back commits leave more copies than those steps free, and memory grows without bound:
//! 1.5 GiB after 400,000 rows. The writer therefore runs the steps itself. It does so after it has
//! answered the commit, so that no caller waits for it.
//!
//! sled and this crate must share one collector, so both must use the same version of
//! `crossbeam-epoch`. With two versions, this file would free none of sled's pages, and
//! `tests/memory.rs` would fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::yield_now;

/// Rows whose old pages may wait to be freed. Few enough that the pages are still in the
/// processor's cache when they are freed, and enough that a single send pays nothing. 1,000 rows
/// leave some 3 MiB.
const COLLECT_AFTER_ROWS: usize = 1_000;

/// Steps after which the writer continues although pages still wait: a thread that was preempted in
/// the middle of a read keeps them alive. The next collections free them.
const MAX_COLLECT_STEPS: usize = 1_000;

/// Old pages that the writer's commits left behind.
#[derive(Debug, Default)]
pub(crate) struct PageCollector {
    /// Rows set since the last collection.
    rows: usize,
    /// Number of collections started.
    begun: u64,
    /// Number of the last collection whose pages are freed.
    freed: Arc<AtomicU64>,
}

impl PageCollector {
    /// Counts the rows of a commit that this thread has applied, and frees old pages if enough
    /// wait.
    pub(crate) fn note(&mut self, rows: usize) {
        self.rows += rows;
        if self.rows >= COLLECT_AFTER_ROWS {
            self.collect();
        }
    }

    /// Frees the pages that the commits of this thread left behind.
    fn collect(&mut self) {
        self.rows = 0;
        self.begun += 1;
        // Deferred functions of one thread run in order, so when this one runs, every page that
        // this thread left before it is freed.
        let (freed, number) = (Arc::clone(&self.freed), self.begun);
        crossbeam_epoch::pin().defer(move || freed.fetch_max(number, Ordering::Relaxed));
        for step in 0..MAX_COLLECT_STEPS {
            // Seals this thread's bag, tries to advance the epoch, and frees up to eight bags of
            // 64.
            crossbeam_epoch::pin().flush();
            if self.freed.load(Ordering::Relaxed) >= self.begun {
                return;
            }
            // Two steps advance the epoch. After that only a reading thread can delay it, so let it
            // run.
            if step > 2 {
                yield_now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// Leaves pages to free, and keeps committing until they are freed.
    fn commit_until_freed(garbage: &mut PageCollector) {
        garbage.note(COLLECT_AFTER_ROWS);
        let begun = garbage.begun;
        // Other tests of this process read as well and may be preempted while they do.
        while garbage.freed.load(Ordering::Relaxed) < begun {
            garbage.note(COLLECT_AFTER_ROWS);
        }
    }

    #[test]
    fn old_pages_are_freed_as_commits_go_on() {
        let mut garbage = PageCollector::default();
        let left = Arc::new(());
        for _ in 0..10 {
            let page = Arc::clone(&left);
            crossbeam_epoch::pin().defer(move || drop(page));
            commit_until_freed(&mut garbage);
            assert_eq!(Arc::strong_count(&left), 1);
        }
    }

    #[test]
    fn few_rows_cost_nothing() {
        let mut garbage = PageCollector::default();
        garbage.note(COLLECT_AFTER_ROWS - 1);
        assert_eq!(garbage.begun, 0);
        garbage.note(1);
        assert_eq!(garbage.begun, 1);
    }

    #[test]
    fn a_reader_that_is_stopped_does_not_stop_the_writer() {
        let (release, released) = channel::<()>();
        let (stands, standing) = channel();
        let reader = std::thread::spawn(move || {
            let pin = crossbeam_epoch::pin();
            stands.send(()).unwrap();
            released.recv().unwrap();
            drop(pin);
        });
        standing.recv().unwrap();
        let mut garbage = PageCollector::default();
        garbage.note(COLLECT_AFTER_ROWS);
        assert_eq!(garbage.freed.load(Ordering::Relaxed), 0);
        release.send(()).unwrap();
        reader.join().unwrap();
        commit_until_freed(&mut garbage);
    }
}
