//! Reads the inbox heads of new connections. Sign-ins that wait during a call form the next batch.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::coalesce::{BatchLoader, CoalescerError, CoalescerLimits, RequestCoalescer};
use crate::error::RequestRefusal;
use crate::id::UserId;
use crate::logic::LogicRole;
use crate::store::Head;

/// Limits of the calls to the logic role.
const HEAD_LIMITS: CoalescerLimits = CoalescerLimits {
    queue_len: 8_192,
    batch_len: 1_000,
    // More than one, so that a call that hangs does not delay every sign-in.
    concurrency: 4,
    // A full queue is two or three rounds of calls, each within the logic role's own limit.
    call_timeout: Duration::from_secs(10),
    load_timeout: Duration::from_secs(10),
};

/// Reads heads for sign-ins. A head is read only after it was requested. A connection that is in
/// the hub and has its route when it requests its head therefore misses nothing: entries above the
/// head are pushed to it.
#[derive(Debug)]
pub(super) struct SignInHeads(RequestCoalescer<HeadLoader>);

impl SignInHeads {
    pub(super) fn new(
        logic: Arc<dyn LogicRole>,
        tracker: &TaskTracker,
        token: &CancellationToken,
    ) -> Self {
        let loader = HeadLoader { logic };
        let (tracker, token) = (tracker.clone(), token.clone());
        Self(RequestCoalescer::new(loader, HEAD_LIMITS, tracker, token))
    }

    /// Returns the user's head.
    pub(super) async fn head(&self, user: UserId) -> Result<Head, RequestRefusal> {
        self.0.call(user).await.map_err(|error| match error {
            CoalescerError::Failed(refusal) => refusal,
            CoalescerError::QueueFull
            | CoalescerError::Stopped
            | CoalescerError::TimedOut
            | CoalescerError::NoAnswer => RequestRefusal::Unavailable,
        })
    }
}

/// Reads the heads of one batch.
#[derive(Debug)]
struct HeadLoader {
    logic: Arc<dyn LogicRole>,
}

impl BatchLoader for HeadLoader {
    type Key = UserId;
    type Value = Head;
    type Error = RequestRefusal;

    async fn load(&self, users: &[UserId]) -> Result<Vec<Head>, RequestRefusal> {
        self.logic.heads(users).await
    }
}

#[cfg(test)]
mod tests;
