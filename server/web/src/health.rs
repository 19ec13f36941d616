//! The state of this process: one value that the lifecycle sets and probes read.

use std::sync::{Mutex, OnceLock};

/// State of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HealthState {
    /// Not serving yet.
    #[default]
    Starting,
    /// Serving.
    Ready,
    /// Temporarily not serving, for this reason.
    Waiting(String),
    /// Shutting down.
    Draining,
    /// Something that the server cannot work without has failed.
    Failed(String),
}

/// A change of the server's state, for its supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerPhase {
    /// It serves.
    Ready,
    /// It has started and temporarily does not serve, for this reason.
    Waiting(String),
    /// Something that the server cannot work without has failed; it is about to stop.
    Failed(String),
    /// It is shutting down.
    Stopping,
}

/// A callback for each change.
type PhaseObserver = Box<dyn Fn(&ServerPhase) + Send + Sync>;

/// The shared state of the server.
#[derive(Default)]
pub struct ServerHealth {
    // A std mutex: held for a copy, never across an await.
    state: Mutex<HealthState>,
    observer: OnceLock<PhaseObserver>,
}

impl std::fmt::Debug for ServerHealth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerHealth")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl ServerHealth {
    /// Returns the current state.
    #[must_use]
    pub fn get(&self) -> HealthState {
        self.lock().clone()
    }

    /// Changes the state; a failed server stays failed.
    pub fn set(&self, next: HealthState) {
        let phase = match &next {
            HealthState::Starting => None,
            HealthState::Ready => Some(ServerPhase::Ready),
            HealthState::Waiting(why) => Some(ServerPhase::Waiting(why.clone())),
            HealthState::Draining => Some(ServerPhase::Stopping),
            HealthState::Failed(why) => Some(ServerPhase::Failed(why.clone())),
        };
        {
            let mut state = self.lock();
            if !matches!(*state, HealthState::Failed(_)) {
                *state = next;
            }
        }
        // The observer is called outside the lock. It learns of the stop of a failed server too,
        // while probes still read the failure.
        if let (Some(phase), Some(observer)) = (phase, self.observer.get()) {
            observer(&phase);
        }
    }

    /// Registers `observer` to be called at each change; only the first one is kept.
    pub fn observe(&self, observer: impl Fn(&ServerPhase) + Send + Sync + 'static) {
        let _ = self.observer.set(Box::new(observer));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HealthState> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
