//! Health of the servers that this node depends on, with the cause of a failure.
//!
//! An outage fails thousands of calls, each of which would log the same line. A failure is logged
//! here with its cause, at most once in [`FAILURE_LOG_INTERVAL`], and its end is logged once.
//! Probes and metrics read the same state.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::ErrorChain;

/// Shortest time between two log lines for failures of one dependency.
pub const FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(30);

/// A server that this node calls.
#[derive(Debug)]
pub struct DependencyHealth {
    name: &'static str,
    /// Cleared by a failure, so that the next answer takes the lock. A healthy dependency is never
    /// locked.
    well: AtomicBool,
    /// True once the server has answered since this node started.
    answered: AtomicBool,
    failures: AtomicU64,
    state: Mutex<DependencyState>,
}

#[derive(Debug, Default)]
struct DependencyState {
    current_failure: Option<DependencyFailure>,
    /// Time of the last logged failure.
    logged: Option<Instant>,
    /// True while a logged failure has no logged recovery yet.
    recovery_unlogged: bool,
    /// Failures since the last logged one.
    unlogged: u64,
}

/// Current failure of a dependency.
#[derive(Clone, Debug)]
pub struct DependencyFailure {
    /// Time of the first failed call after the last answer.
    pub since: Instant,
    /// Cause of the last failed call.
    pub cause: String,
    /// True if the server answers but refuses this node: only an operator can fix that.
    pub refused: bool,
}

impl DependencyHealth {
    /// Creates a dependency without any calls so far.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            well: AtomicBool::new(true),
            answered: AtomicBool::new(false),
            failures: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// Returns the name used in logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the number of failed calls since the start.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Returns `true` if the server has answered since this node started.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Returns the current failure, if the last call failed.
    #[must_use]
    pub fn current_failure(&self) -> Option<DependencyFailure> {
        self.lock().current_failure.clone()
    }

    /// Records an answered call, and logs the recovery if the failure was logged.
    pub fn note_answer(&self) {
        if !self.answered.load(Ordering::Relaxed) {
            self.answered.store(true, Ordering::Relaxed);
        }
        // The common case takes no lock. A failure that is noted between this check and the return
        // clears `well` again, so the next answer takes the slow path.
        if self.well.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.lock();
        // Under the lock, as in `note_failure`: `well` and `current_failure` agree whenever the
        // lock is free.
        self.well.store(true, Ordering::Relaxed);
        let Some(failure) = state.current_failure.take() else {
            return;
        };
        if std::mem::take(&mut state.recovery_unlogged) {
            let away_ms = failure.since.elapsed().as_millis();
            let away_ms = u64::try_from(away_ms).unwrap_or(u64::MAX);
            tracing::info!(dependency = self.name, away_ms, "dependency recovered");
        }
    }

    /// Records a failed call. `refused` is true if the server answered but does not let this node
    /// in.
    pub fn note_failure(&self, error: &(dyn Error + 'static), refused: bool) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let cause = ErrorChain(error).to_string();
        let now = Instant::now();
        let mut state = self.lock();
        self.well.store(false, Ordering::Relaxed);
        let since = state.current_failure.as_ref().map_or(now, |it| it.since);
        state.unlogged += 1;
        if state
            .logged
            .is_none_or(|at| now.duration_since(at) >= FAILURE_LOG_INTERVAL)
        {
            let failures = std::mem::take(&mut state.unlogged);
            (state.logged, state.recovery_unlogged) = (Some(now), true);
            tracing::warn!(dependency = self.name, failures, cause, "dependency fails");
        }
        state.current_failure = Some(DependencyFailure {
            since,
            cause,
            refused,
        });
    }

    fn lock(&self) -> MutexGuard<'_, DependencyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{StoreError, StoreErrorKind};

    #[tokio::test(start_paused = true)]
    async fn a_failure_lasts_until_an_answer_and_has_its_cause() {
        let it = DependencyHealth::new("redis");
        assert!(it.current_failure().is_none() && !it.has_answered());
        let root = std::io::Error::other("NOAUTH");
        let error = StoreError::with("route.claim", StoreErrorKind::Unavailable, root);
        for refused in [true, false] {
            it.note_failure(&error, refused);
            tokio::time::advance(Duration::from_secs(7)).await;
        }
        let failure = it.current_failure().unwrap();
        assert_eq!(failure.cause, "route.claim: unavailable: NOAUTH");
        assert_eq!(failure.since.elapsed(), Duration::from_secs(14));
        assert!(!failure.refused);
        it.note_answer();
        assert!(it.current_failure().is_none() && it.has_answered());
        assert_eq!(it.failures(), 2);
    }
}
