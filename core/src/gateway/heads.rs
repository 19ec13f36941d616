//! Compares cursors with inboxes in batches, which finds a lost last push (law 6).

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::context::GatewayContext;
use super::epochs;
use crate::id::UserId;
use crate::seq::Seq;

/// Maximum number of users in one `heads` call.
const USERS_PER_CALL: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct HeadComparisons {
    requested: Mutex<HashSet<UserId>>,
    some: Notify,
}

impl HeadComparisons {
    /// Requests a comparison of this user's head.
    pub(super) fn ask(&self, user: UserId) {
        self.requested
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(user);
        self.some.notify_one();
    }

    fn take(&self) -> Vec<UserId> {
        let mut asked = self
            .requested
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *asked).into_iter().collect()
    }
}

/// Collects requests for `head_check`, then asks the logic role once.
pub(super) async fn run(comparisons: &HeadComparisons, context: &GatewayContext) {
    loop {
        tokio::select! {
            biased;
            () = context.token.cancelled() => return,
            () = comparisons.some.notified() => {}
        }
        tokio::select! {
            () = context.token.cancelled() => return,
            () = tokio::time::sleep(context.limits.head_check) => {}
        }
        for users in comparisons.take().chunks(USERS_PER_CALL) {
            // The served seqs are read before the heads: a head that is read later and is still
            // below them proves that the inbox went back.
            let served: Vec<Seq> = users.iter().map(|user| context.hub.served(*user)).collect();
            match context.logic.heads(users).await {
                Ok(heads) => {
                    let mut back = None;
                    for ((user, head), served) in users.iter().zip(heads).zip(served) {
                        if head.head < served {
                            back = Some((*user, served));
                        }
                        context.hub.hint(*user, head.head);
                    }
                    // One user is enough: the history ends for all.
                    if let Some((user, served)) = back {
                        epochs::went_back(context, user, served).await;
                    }
                }
                Err(error) => tracing::debug!(%error, "heads not compared"),
            }
        }
    }
}
