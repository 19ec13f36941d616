//! Tasks to be woken when a round of changes is done.
//!
//! A task that is woken at its first change runs on another core while the rest of the round is
//! still being made, and sees a part of it: a write for each part. Woken at the end it sees all of
//! it, and writes once.

use std::task::Waker;

/// Wakers above which they are called although the round goes on.
const MOST: usize = 1_024;

/// The tasks of a round; woken when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Wakes(Vec<Waker>);

impl Wakes {
    /// Adds a task, if there is one to be woken.
    pub(crate) fn add(&mut self, waker: Option<Waker>) {
        self.0.extend(waker);
        if self.0.len() >= MOST {
            self.wake();
        }
    }

    fn wake(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

impl Drop for Wakes {
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
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn tasks_are_woken_at_the_end_or_when_there_are_too_many() {
        let count = Arc::new(Count::default());
        let woken = || count.0.load(Ordering::SeqCst);
        let mut wakes = Wakes::default();
        wakes.add(None);
        for _ in 1..MOST {
            wakes.add(Some(Arc::clone(&count).into()));
        }
        assert_eq!(woken(), 0);
        wakes.add(Some(Arc::clone(&count).into()));
        assert_eq!(woken(), MOST);
        wakes.add(Some(Arc::clone(&count).into()));
        drop(wakes);
        assert_eq!(woken(), MOST + 1);
    }
}
