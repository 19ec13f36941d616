//! Saves the cursor of handled events in the cursor store, at most once per interval.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::cursor_store::{Cursor, CursorStore};

/// The handled cursor and its store.
pub(crate) struct Keeper {
    handled: watch::Receiver<Cursor>,
    store: Option<Arc<dyn CursorStore>>,
    saved: Cursor,
    every: Duration,
    due: Option<Instant>,
}

impl Keeper {
    pub(crate) fn new(
        handled: watch::Receiver<Cursor>,
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

    /// Saves the handled cursor, and returns it.
    pub(crate) async fn keep(&mut self) -> Cursor {
        self.due = None;
        let handled = *self.handled.borrow_and_update();
        if handled == self.saved {
            return handled;
        }
        if let Some(store) = &self.store {
            let store = Arc::clone(store);
            match spawn_blocking(move || store.save(handled)).await {
                Ok(Ok(())) => {}
                // Not fatal: it only causes repeated events after the next start.
                Ok(Err(error)) => tracing::warn!(%error, "cursor not saved"),
                Err(error) => tracing::warn!(%error, "cursor not saved: the store panicked"),
            }
        }
        self.saved = handled;
        handled
    }
}
