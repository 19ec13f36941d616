//! Reads the inbox heads of new connections. Sign-ins that wait during a call form the next batch.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::context::GatewayContext;
use crate::error::RequestRefusal;
use crate::id::UserId;
use crate::store::Head;

/// Maximum number of sign-ins that wait; more are refused as unavailable.
const HEAD_QUEUE_LEN: usize = 8_192;
/// Maximum number of users in one call to the logic role.
const HEADS_PER_CALL: usize = 1_000;
/// Workers, each with one call at a time, so that a call that hangs does not delay every sign-in.
pub(super) const HEAD_READ_CONCURRENCY: usize = 4;

type HeadReply = oneshot::Sender<Result<Head, RequestRefusal>>;

/// Reads heads for sign-ins. A head is read only after it was requested. A connection that is in
/// the hub and has its route when it requests its head therefore misses nothing: entries above the
/// head are pushed to it.
#[derive(Debug)]
pub(super) struct SignInHeads {
    queue: mpsc::Sender<(UserId, HeadReply)>,
    waiting: Mutex<mpsc::Receiver<(UserId, HeadReply)>>,
}

impl Default for SignInHeads {
    fn default() -> Self {
        let (queue, waiting) = mpsc::channel(HEAD_QUEUE_LEN);
        Self {
            queue,
            waiting: Mutex::new(waiting),
        }
    }
}

impl SignInHeads {
    /// Returns the user's head.
    pub(super) async fn head(&self, user: UserId) -> Result<Head, RequestRefusal> {
        let (answer, answered) = oneshot::channel();
        self.queue
            .try_send((user, answer))
            .map_err(|_| RequestRefusal::Unavailable)?;
        answered.await.unwrap_or(Err(RequestRefusal::Unavailable))
    }

    /// Waits for the next batch and takes all sign-ins that wait; `false` if no more will come.
    ///
    /// Only one worker waits for a batch at a time; the others wait for its lock or are in a call.
    async fn next(&self, batch: &mut Vec<(UserId, HeadReply)>, token: &CancellationToken) -> bool {
        let mut waiting = self.waiting.lock().await;
        tokio::select! {
            biased;
            // At shutdown the queue is closed and what waits in it is still served.
            () = token.cancelled(), if !waiting.is_closed() => waiting.close(),
            count = waiting.recv_many(batch, HEADS_PER_CALL) => return count > 0,
        }
        waiting.recv_many(batch, HEADS_PER_CALL).await > 0
    }
}

/// Reads heads batch by batch; one of [`HEAD_READ_CONCURRENCY`] workers.
pub(super) async fn run(sign_ins: &SignInHeads, context: &GatewayContext) {
    let mut batch = Vec::new();
    while sign_ins.next(&mut batch, &context.token).await {
        // Sign-ins whose caller has given up are dropped from the batch.
        batch.retain(|(_, answer)| !answer.is_closed());
        if batch.is_empty() {
            continue;
        }
        let users: Vec<_> = batch.iter().map(|(user, _)| *user).collect();
        let logic = Arc::clone(&context.logic);
        // In a task of its own, so that a panic of the store does not end the worker.
        let heads = context
            .tracker
            .spawn(async move { logic.heads(&users).await });
        match heads.await.unwrap_or(Err(RequestRefusal::Unavailable)) {
            Ok(heads) => {
                // A sign-in without a head gets `Unavailable`, because its sender is dropped.
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
mod tests;
