//! Keeps a store from growing with what is of no use any more: keys whose window has passed, and
//! entries beyond the retention.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::id::UserId;
use crate::seq::Seq;
use crate::store::InboxStore;

/// How often expired keys are looked for.
const EVERY: Duration = Duration::from_mins(1);
/// Keys forgotten in one call.
const SLICE: usize = 1_000;
/// An inbox is trimmed once in so many entries.
const STEP: u64 = 64;
/// Inboxes that wait to be trimmed; one that finds no place is trimmed `STEP` entries later.
const QUEUE: usize = 4_096;

/// Tells the janitor which inboxes have grown. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Retention {
    keep: u64,
    grown: mpsc::Sender<(UserId, Seq)>,
}

impl Retention {
    /// Notes new entries; does not wait.
    pub(crate) fn note(&self, entries: &[(UserId, Seq)]) {
        if self.keep == 0 {
            return;
        }
        for &(user, seq) in entries {
            if seq.get() > self.keep && seq.get().is_multiple_of(STEP) {
                let upto = Seq::new(seq.get() - self.keep);
                // A full queue costs nothing: the inbox is noted again.
                let _ = self.grown.try_send((user, upto));
            }
        }
    }
}

/// The janitor of a node.
#[derive(Debug)]
pub(crate) struct Janitor {
    inbox: Arc<dyn InboxStore>,
    grown: mpsc::Receiver<(UserId, Seq)>,
}

impl Janitor {
    /// A janitor that keeps the last `keep` entries of each inbox; 0 keeps all.
    pub(crate) fn new(inbox: Arc<dyn InboxStore>, keep: u64) -> (Self, Retention) {
        let (sender, grown) = mpsc::channel(QUEUE);
        (
            Self { inbox, grown },
            Retention {
                keep,
                grown: sender,
            },
        )
    }

    /// Works until the token is cancelled.
    pub(crate) async fn run(mut self, token: CancellationToken) {
        let mut period = interval(EVERY);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = token.cancelled() => return,
                Some((user, upto)) = self.grown.recv() => {
                    if let Err(error) = self.inbox.trim(user, upto).await {
                        tracing::debug!(%error, %user, "inbox not trimmed; it is tried again");
                    }
                }
                _ = period.tick() => self.sweep(&token).await,
            }
        }
    }

    async fn sweep(&self, token: &CancellationToken) {
        while !token.is_cancelled() {
            match self.inbox.sweep(SLICE).await {
                Ok(SLICE) => tokio::task::yield_now().await,
                Ok(_) => return,
                Err(error) => {
                    tracing::debug!(%error, "expired keys not forgotten; it is tried again");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::business::Open;
    use crate::id::DeviceId;
    use crate::limits::Limits;
    use crate::memory;
    use crate::message::{Draft, Sender};
    use crate::node::NodeBuilder;

    #[tokio::test(start_paused = true)]
    async fn an_inbox_keeps_its_last_entries() {
        let stores = memory::stores();
        let mut node = NodeBuilder::new(stores.clone(), Arc::new(Open));
        node.limits = Limits {
            keep_entries: 100,
            ..Limits::default()
        };
        let node = node.start();
        let (alice, bob) = (UserId::new(1).unwrap(), UserId::new(2).unwrap());
        let sender = Sender::User {
            user: alice,
            device: DeviceId::new(1),
        };
        for n in 0..200 {
            node.service()
                .send(sender, Draft::text(bob, &n.to_string()))
                .await
                .unwrap();
        }
        loop {
            let head = *stores.seq.heads(&[bob]).await.unwrap().first().unwrap();
            assert_eq!(head.head.get(), 200);
            if head.floor.get() == 192 - 100 {
                break;
            }
            tokio::task::yield_now().await;
        }
        node.stop().await;
    }
}
