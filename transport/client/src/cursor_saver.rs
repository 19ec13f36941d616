//! Saves the cursor of handled events in the cursor store, at most once per interval.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::cursor_store::{ClientCursor, CursorStore};

/// The handled cursor and its store.
pub(crate) struct CursorSaver {
    handled: watch::Receiver<ClientCursor>,
    store: Option<Arc<dyn CursorStore>>,
    saved: ClientCursor,
    every: Duration,
    due: Option<Instant>,
}

impl CursorSaver {
    pub(crate) fn new(
        handled: watch::Receiver<ClientCursor>,
        store: Option<Arc<dyn CursorStore>>,
        every: Duration,
    ) -> Self {
        let saved = *handled.borrow();
        Self {
            handled,
            store,
            saved,
            every,
            due: None,
        }
    }

    /// Waits until the application has handled something, once until the next [`keep`](Self::keep).
    /// Returns only then; dropping the future loses nothing.
    pub(crate) async fn noticed(&mut self) {
        if self.due.is_some() || self.handled.changed().await.is_err() {
            pending::<()>().await;
        }
        self.due = Some(Instant::now() + self.every);
    }

    /// Returns when to call [`keep`](Self::keep), if there is something to save.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Saves the handled cursor, and returns the last one that was saved: an ack of a later one
    /// would let the server remove entries that come again after the next start. A save that fails
    /// is repeated after the interval.
    pub(crate) async fn keep(&mut self) -> ClientCursor {
        self.due = None;
        let handled = *self.handled.borrow_and_update();
        if handled == self.saved || self.save(handled).await {
            self.saved = handled;
        } else {
            self.due = Some(Instant::now() + self.every);
        }
        self.saved
    }

    /// Saves a cursor; returns `false` if the store failed.
    async fn save(&self, cursor: ClientCursor) -> bool {
        let Some(store) = self.store.as_ref().map(Arc::clone) else {
            return true;
        };
        // A failure is not fatal: it only causes repeated events after the next start.
        match spawn_blocking(move || store.save(cursor)).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => tracing::warn!(%error, "cursor not saved"),
            Err(error) => tracing::warn!(%error, "cursor not saved: the store panicked"),
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use super::*;

    /// Fails as often as it says, then saves.
    #[derive(Default)]
    struct FailingCursorStore {
        failures: Mutex<usize>,
        saved: Mutex<Option<ClientCursor>>,
    }

    impl CursorStore for FailingCursorStore {
        fn load(&self) -> io::Result<Option<ClientCursor>> {
            Ok(*self.saved.lock().unwrap())
        }

        fn save(&self, cursor: ClientCursor) -> io::Result<()> {
            let mut failures = self.failures.lock().unwrap();
            if let Some(left) = failures.checked_sub(1) {
                *failures = left;
                return Err(io::Error::other("full"));
            }
            *self.saved.lock().unwrap() = Some(cursor);
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_save_that_failed_is_repeated_and_acknowledged_only_then() {
        let start = ClientCursor { epoch: 7, seq: 3 };
        let end = ClientCursor { epoch: 7, seq: 5 };
        let (handled, seen) = watch::channel(start);
        let store = Arc::new(FailingCursorStore {
            failures: Mutex::new(1),
            ..FailingCursorStore::default()
        });
        let every = Duration::from_secs(1);
        let mut saver = CursorSaver::new(seen, Some(Arc::clone(&store) as _), every);
        handled.send_replace(end);
        saver.noticed().await;
        assert_eq!(saver.keep().await, start);
        assert!(saver.due().is_some(), "it is saved again");
        assert_eq!(saver.keep().await, end);
        assert_eq!(store.load().unwrap(), Some(end));
        assert_eq!(saver.due(), None);
    }
}
