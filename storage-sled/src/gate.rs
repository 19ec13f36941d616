//! A gate in front of the flush, for tests: it keeps a commit applied but not durable, so that a
//! test can check that readers do not see it yet.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Stops the writer before it makes a commit durable.
#[derive(Clone, Debug, Default)]
pub struct FlushGate {
    inner: Arc<GateState>,
}

#[derive(Debug)]
struct GateState {
    held: Mutex<bool>,
    released: Condvar,
    standing: watch::Sender<bool>,
}

impl Default for GateState {
    fn default() -> Self {
        Self {
            held: Mutex::default(),
            released: Condvar::new(),
            standing: watch::Sender::new(false),
        }
    }
}

impl FlushGate {
    /// Closes the gate: from now on no commit becomes durable.
    pub fn hold(&self) {
        *self.lock() = true;
    }

    /// Opens the gate.
    pub fn release(&self) {
        *self.lock() = false;
        self.inner.released.notify_all();
    }

    /// Returns when a commit waits at the closed gate: applied, but not durable.
    pub async fn reached(&self) {
        let mut standing = self.inner.standing.subscribe();
        // The only error is a dropped sender, and `self` holds the sender.
        let _ = standing.wait_for(|it| *it).await;
    }

    /// Blocks while the gate is closed. Only the writer's thread calls this.
    pub(crate) fn wait_until_open(&self) {
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

    // A bool is never half-written, so the value behind a poisoned lock is valid.
    fn lock(&self) -> MutexGuard<'_, bool> {
        let held = self.inner.held.lock();
        held.unwrap_or_else(PoisonError::into_inner)
    }
}
