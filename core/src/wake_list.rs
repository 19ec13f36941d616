//! The wake list: tasks to be woken when a round of changes is complete.
//!
//! A task that is woken at its first change runs on another core while the round goes on, sees a
//! part of it, and writes once for each part. A task that is woken at the end sees the whole round
//! and writes once. The owner therefore drops the list after the last change of the round.

use std::task::Waker;

/// Number of wakers at which they are called before the round is complete, which bounds the list.
const MAX_WAKE_LIST_LEN: usize = 1_024;

/// The tasks of a round; they are woken when the list is dropped.
#[derive(Debug, Default)]
pub(crate) struct WakeList(Vec<Waker>);

impl WakeList {
    /// Adds a task, if there is one to wake.
    pub(crate) fn add(&mut self, waker: Option<Waker>) {
        self.0.extend(waker);
        if self.0.len() >= MAX_WAKE_LIST_LEN {
            self.wake();
        }
    }

    fn wake(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

impl Drop for WakeList {
    fn drop(&mut self) {
        self.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct WakeCounter(AtomicUsize);

    impl Wake for WakeCounter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn tasks_are_woken_at_the_end_or_when_there_are_too_many() {
        let count = Arc::new(WakeCounter::default());
        let woken = || count.0.load(Ordering::SeqCst);
        let mut wake_list = WakeList::default();
        wake_list.add(None);
        for _ in 1..MAX_WAKE_LIST_LEN {
            wake_list.add(Some(Arc::clone(&count).into()));
        }
        assert_eq!(woken(), 0);
        wake_list.add(Some(Arc::clone(&count).into()));
        assert_eq!(woken(), MAX_WAKE_LIST_LEN);
        wake_list.add(Some(Arc::clone(&count).into()));
        drop(wake_list);
        assert_eq!(woken(), MAX_WAKE_LIST_LEN + 1);
    }
}
