//! Whether this process serves: one value that the lifecycle sets and probes read.

use std::sync::{Mutex, OnceLock};

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

/// A change of the server's state, for whoever supervises it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It serves.
    Ready,
    /// It has started and does not serve for now, for this reason.
    Waiting(String),
    /// Something it cannot do without has failed; it is going to stop.
    Failed(String),
    /// It is going away.
    Stopping,
}

/// Called at each change.
type Observer = Box<dyn Fn(&Phase) + Send + Sync>;

/// The state, shared.
#[derive(Default)]
pub(crate) struct Health {
    // A plain mutex: held for a copy, never over a wait.
    state: Mutex<State>,
    observer: OnceLock<Observer>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Health {
    /// The state now.
    pub(crate) fn get(&self) -> State {
        self.lock().clone()
    }

    /// Moves on; what has failed stays failed.
    pub(crate) fn set(&self, next: State) {
        let phase = match &next {
            State::Starting => None,
            State::Ready => Some(Phase::Ready),
            State::Waiting(why) => Some(Phase::Waiting(why.clone())),
            State::Draining => Some(Phase::Stopping),
            State::Failed(why) => Some(Phase::Failed(why.clone())),
        };
        {
            let mut state = self.lock();
            if !matches!(*state, State::Failed(_)) {
                *state = next;
            }
        }
        // Outside the lock. A server that failed is stopping too, whatever probes are told.
        if let (Some(phase), Some(observer)) = (phase, self.observer.get()) {
            observer(&phase);
        }
    }

    /// Has `observer` called at each change; the first one given stays.
    pub(crate) fn observe(&self, observer: impl Fn(&Phase) + Send + Sync + 'static) {
        let _ = self.observer.set(Box::new(observer));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
