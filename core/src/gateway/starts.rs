//! Where the inboxes of new connections stand: those that wait while calls are made form the next.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::Inner;
use crate::error::Refusal;
use crate::id::UserId;
use crate::store::Head;

/// Sign-ins that wait; more are refused as unavailable.
const QUEUE: usize = 8_192;
/// Users of one call to the logic role.
const BATCH: usize = 1_000;
/// Calls under way at a time: one that hangs does not hold up every sign-in.
pub(super) const LANES: usize = 4;

type Answer = oneshot::Sender<Result<Head, Refusal>>;

/// Reads heads for sign-ins. Each is read after it was asked for, so a connection that is in the hub
/// and has its route when it asks misses nothing: what is behind the head is pushed to it.
#[derive(Debug)]
pub(super) struct Starts {
    queue: mpsc::Sender<(UserId, Answer)>,
    waiting: Mutex<mpsc::Receiver<(UserId, Answer)>>,
}

impl Default for Starts {
    fn default() -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        Self {
            queue,
            waiting: Mutex::new(waiting),
        }
    }
}

impl Starts {
    /// The user's head.
    pub(super) async fn head(&self, user: UserId) -> Result<Head, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.queue
            .try_send((user, answer))
            .map_err(|_| Refusal::Unavailable)?;
        answered.await.unwrap_or(Err(Refusal::Unavailable))
    }

    /// Takes all that wait, once something does; `false` when nothing more comes.
    async fn next(&self, batch: &mut Vec<(UserId, Answer)>, inner: &Inner) -> bool {
        let mut waiting = self.waiting.lock().await;
        tokio::select! {
            biased;
            () = inner.token.cancelled(), if !waiting.is_closed() => waiting.close(),
            count = waiting.recv_many(batch, BATCH) => return count > 0,
        }
        waiting.recv_many(batch, BATCH).await > 0
    }
}

/// Asks the logic role for all that wait; one of [`LANES`] that take turns.
pub(super) async fn run(inner: &Inner, tracker: &TaskTracker) {
    let mut batch = Vec::new();
    while inner.starts.next(&mut batch, inner).await {
        batch.retain(|(_, answer)| !answer.is_closed());
        if batch.is_empty() {
            continue;
        }
        let users: Vec<_> = batch.iter().map(|(user, _)| *user).collect();
        let logic = Arc::clone(&inner.logic);
        // In a task of its own: a panic of the store does not end the lane.
        let heads = tracker.spawn(async move { logic.heads(&users).await });
        match heads.await.unwrap_or(Err(Refusal::Unavailable)) {
            Ok(heads) => {
                // One without a head is told so by its answer being dropped.
                for ((_, answer), head) in batch.drain(..).zip(heads) {
                    let _ = answer.send(Ok(head));
                }
            }
            Err(refusal) => {
                for (_, answer) in batch.drain(..) {
                    let _ = answer.send(Err(refusal.clone()));
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "starts_tests.rs"]
mod tests;
