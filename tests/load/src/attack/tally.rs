//! Counters of one attack.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// Totals of one attack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttackTotals {
    /// Name of the attack.
    pub name: String,
    /// Attempted requests, packets or connections.
    pub tried: u64,
    /// Attempts that the server refused, closed, or did not take in time.
    pub refused: u64,
    /// Text of the first refusal.
    pub first: String,
}

/// Counters of a running attack. Cheap to share.
#[derive(Debug)]
pub(super) struct AttackTally {
    name: &'static str,
    tried: AtomicU64,
    refused: AtomicU64,
    first: Mutex<String>,
}

impl AttackTally {
    pub(super) fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self {
            name,
            tried: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            first: Mutex::default(),
        })
    }

    /// Counts one attempt.
    pub(super) fn tries(&self) {
        self.tried.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one refusal, and keeps the text of the first.
    pub(super) fn refused(&self, why: &impl ToString) {
        if self.refused.fetch_add(1, Ordering::Relaxed) == 0 {
            *self.first.lock().unwrap_or_else(PoisonError::into_inner) = why.to_string();
        }
    }

    /// Counts one attempt and, if it failed, one refusal.
    pub(super) fn counts<T, E: ToString>(&self, outcome: Result<T, E>) -> Option<T> {
        self.tries();
        outcome.map_err(|why| self.refused(&why)).ok()
    }

    pub(super) fn total(&self) -> AttackTotals {
        AttackTotals {
            name: self.name.to_owned(),
            tried: self.tried.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            first: self
                .first
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }
}
