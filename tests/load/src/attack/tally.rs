//! Counts of one attack.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// What one attack did, in total.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tried {
    /// The attack's name.
    pub name: String,
    /// Requests, packets or connections that were tried.
    pub tried: u64,
    /// How many of them the server refused, closed, or did not take in time.
    pub refused: u64,
    /// The first refusal in words.
    pub first: String,
}

/// The counts while the attack runs. Cheap to share.
#[derive(Debug)]
pub(super) struct Tally {
    name: &'static str,
    tried: AtomicU64,
    refused: AtomicU64,
    first: Mutex<String>,
}

impl Tally {
    pub(super) fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self {
            name,
            tried: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            first: Mutex::default(),
        })
    }

    /// Counts one try.
    pub(super) fn tries(&self) {
        self.tried.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one refusal; keeps the words of the first.
    pub(super) fn refused(&self, why: &impl ToString) {
        if self.refused.fetch_add(1, Ordering::Relaxed) == 0 {
            *self.first.lock().unwrap_or_else(PoisonError::into_inner) = why.to_string();
        }
    }

    /// Counts one try and, if it failed, one refusal.
    pub(super) fn counts<T, E: ToString>(&self, outcome: Result<T, E>) -> Option<T> {
        self.tries();
        outcome.map_err(|why| self.refused(&why)).ok()
    }

    pub(super) fn total(&self) -> Tried {
        Tried {
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
