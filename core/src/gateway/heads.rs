//! Compares cursors with inboxes in batches, which finds a lost last push (law 6).

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::{GatewayInner, epochs};
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
pub(super) async fn run(inner: &GatewayInner) {
    loop {
        tokio::select! {
            biased;
            () = inner.token.cancelled() => return,
            () = inner.heads.some.notified() => {}
        }
        tokio::select! {
            () = inner.token.cancelled() => return,
            () = tokio::time::sleep(inner.limits.head_check) => {}
        }
        for users in inner.heads.take().chunks(USERS_PER_CALL) {
            // The served seqs are read before the heads: a head that is read later and is still
            // below them proves that the inbox went back.
            let served: Vec<Seq> = users.iter().map(|user| inner.hub.served(*user)).collect();
            match inner.logic.heads(users).await {
                Ok(heads) => {
                    let mut back = None;
                    for ((user, head), served) in users.iter().zip(heads).zip(served) {
                        if head.head < served {
                            back = Some((*user, served));
                        }
                        inner.hub.hint(*user, head.head);
                    }
                    // One user is enough: the history ends for all.
                    if let Some((user, served)) = back {
                        epochs::went_back(inner, user, served).await;
                    }
                }
                Err(error) => tracing::debug!(%error, "heads not compared"),
            }
        }
    }
}
