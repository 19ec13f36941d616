//! Whether a server that this node depends on answers, and why not.
//!
//! An outage fails thousands of calls; each of them would log the same line. What fails is logged
//! here with its cause, at most once in [`LOG_EVERY`], and once more when it is over. Probes and
//! metrics read the same state.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Causes;

/// Failures of one dependency are logged at most this often.
pub const LOG_EVERY: Duration = Duration::from_secs(30);

/// A server that this node calls.
#[derive(Debug)]
pub struct Dependency {
    name: &'static str,
    /// Cleared by a failure: an answer then takes the lock. While all is well nothing is locked.
    well: AtomicBool,
    /// It has answered since this node started.
    answered: AtomicBool,
    failures: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    trouble: Option<Trouble>,
    /// When a failure was last logged.
    logged: Option<Instant>,
    /// A failure was logged, and its end was not.
    owed: bool,
    /// Failures since the last one that was logged.
    unlogged: u64,
}

/// What is wrong with a dependency now.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// When the first call failed that no answer has come after.
    pub since: Instant,
    /// Why the last call failed.
    pub cause: String,
    /// The server answers, and refuses this node: only an operator can mend it.
    pub refused: bool,
}

impl Dependency {
    /// A dependency that nothing is known of.
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

    /// What it is called in logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Calls that failed so far.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Whether it has answered since this node started.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// What is wrong, if the last call failed.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.lock().trouble.clone()
    }

    /// A call was answered.
    pub fn note_answer(&self) {
        if !self.answered.load(Ordering::Relaxed) {
            self.answered.store(true, Ordering::Relaxed);
        }
        if self.well.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.lock();
        self.well.store(true, Ordering::Relaxed);
        let Some(trouble) = state.trouble.take() else {
            return;
        };
        if std::mem::take(&mut state.owed) {
            let away_ms = trouble.since.elapsed().as_millis();
            let away_ms = u64::try_from(away_ms).unwrap_or(u64::MAX);
            tracing::info!(dependency = self.name, away_ms, "dependency recovered");
        }
    }

    /// A call failed. `refused` says that the server answered and does not let this node in.
    pub fn note_failure(&self, error: &(dyn Error + 'static), refused: bool) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let cause = Causes(error).to_string();
        let now = Instant::now();
        let mut state = self.lock();
        self.well.store(false, Ordering::Relaxed);
        let since = state.trouble.as_ref().map_or(now, |it| it.since);
        state.unlogged += 1;
        if state
            .logged
            .is_none_or(|at| now.duration_since(at) >= LOG_EVERY)
        {
            let failures = std::mem::take(&mut state.unlogged);
            (state.logged, state.owed) = (Some(now), true);
            tracing::warn!(dependency = self.name, failures, cause, "dependency fails");
        }
        state.trouble = Some(Trouble {
            since,
            cause,
            refused,
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Kind, StoreError};

    #[tokio::test(start_paused = true)]
    async fn trouble_lasts_until_an_answer_and_names_its_cause() {
        let it = Dependency::new("redis");
        assert!(it.trouble().is_none() && !it.has_answered());
        let root = std::io::Error::other("NOAUTH");
        let error = StoreError::with("route.claim", Kind::Unavailable, root);
        for refused in [true, false] {
            it.note_failure(&error, refused);
            tokio::time::advance(Duration::from_secs(7)).await;
        }
        let trouble = it.trouble().unwrap();
        assert_eq!(trouble.cause, "route.claim: unavailable: NOAUTH");
        assert_eq!(trouble.since.elapsed(), Duration::from_secs(14));
        assert!(!trouble.refused);
        it.note_answer();
        assert!(it.trouble().is_none() && it.has_answered());
        assert_eq!(it.failures(), 2);
    }
}
