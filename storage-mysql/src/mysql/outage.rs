//! Says in the log that MySQL is away, once in a while, and that it is back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gimlet_core::error::Causes;
use tokio::time::Instant;

use crate::error::Fault;

/// An outage is told again after this.
const EVERY: Duration = Duration::from_secs(30);

/// Whether MySQL is away, as far as the log was told.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// Read on each acquire, so that a healthy pool takes no lock for it.
    told: AtomicBool,
    last: Mutex<Option<Instant>>,
}

impl Outage {
    /// A connection could not be had.
    pub(super) fn failed(&self, fault: &Fault) {
        // A queue of callers is no outage.
        if matches!(fault, Fault::Closed) {
            return;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < EVERY) {
            return;
        }
        *last = Some(Instant::now());
        self.told.store(true, Ordering::Relaxed);
        tracing::warn!(cause = %Causes(fault), "cannot connect to MySQL, retrying");
    }

    /// A connection was had.
    pub(super) fn recovered(&self) {
        if self.told.load(Ordering::Relaxed) && self.told.swap(false, Ordering::Relaxed) {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
            tracing::info!("connected to MySQL again");
        }
    }
}
