//! Comparing cursors with inboxes, in batches: what finds a lost last push (law 6).

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Inner;
use crate::hub::CloseReason;
use crate::id::UserId;
use crate::seq::Seq;

/// Users of one `heads` call.
const BATCH: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Heads {
    asked: Mutex<HashSet<UserId>>,
    some: Notify,
}

impl Heads {
    /// Compares this user's head soon.
    pub(super) fn ask(&self, user: UserId) {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(user);
        self.some.notify_one();
    }

    fn take(&self) -> Vec<UserId> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *asked).into_iter().collect()
    }
}

/// Gathers what is asked within `head_check` and asks the logic role once.
pub(super) async fn run(inner: &Inner) {
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
        for users in inner.heads.take().chunks(BATCH) {
            let served: Vec<Seq> = users.iter().map(|user| inner.hub.served(*user)).collect();
            match inner.logic.heads(users).await {
                Ok(heads) => {
                    for ((user, head), served) in users.iter().zip(heads).zip(served) {
                        if head.head < served {
                            start_over(inner, *user);
                        }
                        inner.hub.hint(*user, head.head);
                    }
                }
                Err(error) => tracing::debug!(%error, "heads could not be compared"),
            }
        }
    }
}

/// The inbox is shorter than what was served of it: its history was changed under this node
/// (law 10). Who lives on the old one is sent away, and meets the new epoch when it comes back.
fn start_over(inner: &Inner, user: UserId) {
    tracing::error!(%user, "an inbox is shorter than it was; its connections start over");
    inner.epoch.store(0, Ordering::Relaxed);
    for handle in inner.hub.of(user) {
        handle.close(CloseReason::Shutdown {
            after: Duration::ZERO,
        });
    }
}
