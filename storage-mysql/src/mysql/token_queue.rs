//! The queue of token lookups, from which workers take batches.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::store::{StoreError, TokenRecord};
use tokio::sync::oneshot;

/// Tokens per statement.
const TOKEN_BATCH_LEN: usize = 250;

/// A queued lookup of the token of a user on a device.
#[derive(Debug)]
pub(super) struct TokenLookup {
    pub(super) user: UserId,
    pub(super) device: DeviceId,
    pub(super) answer: oneshot::Sender<Result<Option<TokenRecord>, StoreError>>,
}

/// Queued lookups, and the number of running workers.
#[derive(Debug, Default)]
pub(super) struct TokenBatcher(Mutex<TokenQueue>);

/// The content of the queue.
#[derive(Debug, Default)]
pub(super) struct TokenQueue {
    pub(super) waiting: VecDeque<TokenLookup>,
    pub(super) workers: usize,
}

impl TokenBatcher {
    pub(super) fn lock(&self) -> MutexGuard<'_, TokenQueue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next batch of a worker. An empty batch ends the worker and removes it from
    /// the count.
    pub(super) fn take(&self) -> Vec<TokenLookup> {
        // The batch is taken and the worker uncounted under one lock. Otherwise a lookup could find
        // all workers still counted, start none, and wait until its deadline.
        let mut asked = self.lock();
        let mut batch = Vec::new();
        while batch.len() < TOKEN_BATCH_LEN
            && let Some(ask) = asked.waiting.pop_front()
        {
            // Lookups whose caller timed out are dropped from the batch.
            if !ask.answer.is_closed() {
                batch.push(ask);
            }
        }
        if batch.is_empty() {
            asked.workers -= 1;
        }
        batch
    }
}
