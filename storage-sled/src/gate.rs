//! A gate before the flush, for tests: it holds a commit that readers must not see yet.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Holds the writer before it makes a commit durable.
#[derive(Clone, Debug, Default)]
pub struct FlushGate {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    held: Mutex<bool>,
    released: Condvar,
    standing: watch::Sender<bool>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            held: Mutex::default(),
            released: Condvar::new(),
            standing: watch::Sender::new(false),
        }
    }
}

impl FlushGate {
    /// Closes the gate: from now on nothing becomes durable.
    pub fn hold(&self) {
        *self.lock() = true;
    }

    /// Opens the gate.
    pub fn release(&self) {
        *self.lock() = false;
        self.inner.released.notify_all();
    }

    /// Returns when a commit stands at the closed gate: applied, not durable.
    pub async fn reached(&self) {
        let mut standing = self.inner.standing.subscribe();
        // An error says that the sender is gone, which `self` holds.
        let _ = standing.wait_for(|it| *it).await;
    }

    /// Waits while the gate is closed. Only the writer's thread stands here.
    pub(crate) fn pass(&self) {
        let mut held = self.lock();
        if !*held {
            return;
        }
        self.inner.standing.send_replace(true);
        while *held {
            let woken = self.inner.released.wait(held);
            held = woken.unwrap_or_else(PoisonError::into_inner);
        }
        self.inner.standing.send_replace(false);
    }

    // A flag cannot be left half-changed, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, bool> {
        let held = self.inner.held.lock();
        held.unwrap_or_else(PoisonError::into_inner)
    }
}
