//! Cache of the epoch, which every node reads often.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gimlet_core::id::Epoch;
use tokio::time::Instant;

/// Time for which a read epoch is cached: an operator's change takes effect within this.
const EPOCH_AGE: Duration = Duration::from_millis(500);

/// Cache of the epoch.
#[derive(Debug, Default)]
pub(super) struct EpochCell(Mutex<Option<(Instant, Epoch)>>);

impl EpochCell {
    pub(super) fn get(&self) -> Option<Epoch> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .filter(|(read, _)| read.elapsed() < EPOCH_AGE)
            .map(|(_, epoch)| epoch)
    }

    pub(super) fn set(&self, epoch: Epoch) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), epoch));
    }
}
