//! Counts of a hook's delivery by this node.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::store::{HookBacklog, OutboxBounds, cut_error};
use crate::time::UnixTimestamp;

/// Counts of a hook since the start of this node, and its backlog when the node last counted it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookStatistics {
    /// Events that were delivered.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Attempts after a failure.
    pub retries: u64,
    /// Events that became dead letters.
    pub given_up: u64,
    /// Events and dead letters that were removed because there were too many.
    pub dropped: u64,
    /// The backlog; only the node that delivers the hook counts it.
    pub backlog: Option<HookBacklog>,
    /// Reason and time of the last failure.
    pub last_failure: Option<(String, UnixTimestamp)>,
}

/// The counters of a hook.
#[derive(Debug, Default)]
pub(super) struct HookCounters {
    delivered: AtomicU64,
    failed: AtomicU64,
    retries: AtomicU64,
    given_up: AtomicU64,
    dropped: AtomicU64,
    /// A std mutex: it is held for an assignment.
    latest: Mutex<LatestState>,
}

#[derive(Debug, Default)]
struct LatestState {
    backlog: Option<HookBacklog>,
    failure: Option<(String, UnixTimestamp)>,
}

impl HookCounters {
    pub(super) fn delivered(&self, events: usize) {
        add(&self.delivered, events as u64);
    }

    pub(super) fn retried(&self) {
        add(&self.retries, 1);
    }

    pub(super) fn failed(&self, error: &str, at: UnixTimestamp) {
        add(&self.failed, 1);
        self.latest().failure = Some((cut_error(error).to_owned(), at));
    }

    pub(super) fn gave_up(&self, events: usize) {
        add(&self.given_up, events as u64);
    }

    pub(super) fn dropped(&self, dropped: OutboxBounds) {
        add(
            &self.dropped,
            dropped.events.saturating_add(dropped.dead_letters),
        );
    }

    /// Sets the backlog; `None` when another node delivers the hook.
    pub(super) fn set_backlog(&self, backlog: Option<HookBacklog>) {
        self.latest().backlog = backlog;
    }

    pub(super) fn read(&self) -> HookStatistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let latest = self.latest();
        HookStatistics {
            delivered: read(&self.delivered),
            failed: read(&self.failed),
            retries: read(&self.retries),
            given_up: read(&self.given_up),
            dropped: read(&self.dropped),
            backlog: latest.backlog,
            last_failure: latest.failure.clone(),
        }
    }

    fn latest(&self) -> std::sync::MutexGuard<'_, LatestState> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
