//! Whether this process serves: one value that the lifecycle sets and probes read.

use std::sync::Mutex;

/// How the server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// Not serving yet.
    #[default]
    Starting,
    /// Serving.
    Ready,
    /// Not serving for now, for this reason.
    Waiting(String),
    /// Going away.
    Draining,
    /// Something it cannot do without has failed.
    Failed(String),
}

/// The state, shared.
#[derive(Debug, Default)]
pub(crate) struct Health {
    // A plain mutex: held for a copy, never over a wait.
    state: Mutex<State>,
}

impl Health {
    /// The state now.
    pub(crate) fn get(&self) -> State {
        self.lock().clone()
    }

    /// Moves on; what has failed stays failed.
    pub(crate) fn set(&self, next: State) {
        let mut state = self.lock();
        if !matches!(*state, State::Failed(_)) {
            *state = next;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
