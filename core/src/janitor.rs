//! Removes data that is not needed any more: keys whose window has passed, and entries beyond the
//! retention limit.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::id::UserId;
use crate::seq::Seq;
use crate::store::InboxStore;

/// Interval of the sweeps for expired keys.
const KEY_SWEEP_INTERVAL: Duration = Duration::from_mins(1);
/// Keys removed in one call.
const KEYS_PER_SWEEP: usize = 1_000;
/// An inbox is trimmed after each multiple of this number of entries.
const TRIM_INTERVAL_ENTRIES: u64 = 64;
/// Inboxes that wait to be trimmed; if the queue is full, an inbox is trimmed
/// `TRIM_INTERVAL_ENTRIES` entries later.
const TRIM_QUEUE_LEN: usize = 4_096;

/// Reports grown inboxes to the janitor. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RetentionNotifier {
    keep: u64,
    grown: mpsc::Sender<(UserId, Seq)>,
}

impl RetentionNotifier {
    /// Reports new entries; does not wait.
    pub(crate) fn note(&self, entries: &[(UserId, Seq)]) {
        if self.keep == 0 {
            return;
        }
        for &(user, seq) in entries {
            if seq.get() > self.keep && seq.get().is_multiple_of(TRIM_INTERVAL_ENTRIES) {
                let upto = Seq::new(seq.get() - self.keep);
                // A full queue loses nothing: the inbox is reported again `TRIM_INTERVAL_ENTRIES`
                // entries later.
                let _ = self.grown.try_send((user, upto));
            }
        }
    }
}

/// The janitor of a node.
#[derive(Debug)]
pub(crate) struct StoreJanitor {
    inbox: Arc<dyn InboxStore>,
    grown: mpsc::Receiver<(UserId, Seq)>,
}

impl StoreJanitor {
    /// Makes a janitor that keeps the last `keep` entries of each inbox; 0 keeps all.
    pub(crate) fn new(inbox: Arc<dyn InboxStore>, keep: u64) -> (Self, RetentionNotifier) {
        let (sender, grown) = mpsc::channel(TRIM_QUEUE_LEN);
        (
            Self { inbox, grown },
            RetentionNotifier {
                keep,
                grown: sender,
            },
        )
    }

    /// Runs until the token is cancelled.
    pub(crate) async fn run(mut self, token: CancellationToken) {
        let mut period = interval(KEY_SWEEP_INTERVAL);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = token.cancelled() => return,
                // Before the trims in this biased select: trims may arrive without end, and the
                // sweep would never run behind them.
                _ = period.tick() => self.sweep(&token).await,
                Some((user, upto)) = self.grown.recv() => {
                    if let Err(error) = self.inbox.trim(user, upto).await {
                        tracing::debug!(%error, %user, "inbox not trimmed, retrying at its next growth");
                    }
                }
            }
        }
    }

    async fn sweep(&self, token: &CancellationToken) {
        while !token.is_cancelled() {
            match self.inbox.sweep(KEYS_PER_SWEEP).await {
                Ok(KEYS_PER_SWEEP) => tokio::task::yield_now().await,
                Ok(_) => return,
                Err(error) => {
                    tracing::debug!(%error, "expired keys not removed, retrying");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::business::OpenBusiness;
    use crate::id::{DeviceId, GroupId};
    use crate::limits::Limits;
    use crate::memory;
    use crate::message::{MessageDraft, MessageSender};
    use crate::node::NodeBuilder;
    use crate::page::PageLimit;
    use crate::store::{
        AppendOutcome, AppendRequest, InboxSlice, JobLease, JobStepOutcome, StoreError,
    };

    /// A store whose trims take a second, and each of which queues the next one.
    #[derive(Debug)]
    struct SlowTrimStore {
        again: RetentionNotifier,
        swept: AtomicUsize,
    }

    #[async_trait]
    impl InboxStore for SlowTrimStore {
        async fn append(&self, _: &[AppendRequest]) -> Result<Vec<AppendOutcome>, StoreError> {
            Ok(Vec::new())
        }

        async fn after(&self, _: UserId, _: Seq, _: PageLimit) -> Result<InboxSlice, StoreError> {
            Ok(InboxSlice::default())
        }

        async fn trim(&self, user: UserId, _: Seq) -> Result<(), StoreError> {
            self.again.note(&[(user, Seq::new(TRIM_INTERVAL_ENTRIES))]);
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(())
        }

        async fn claim_job(&self, _: Option<GroupId>) -> Result<Option<JobLease>, StoreError> {
            Ok(None)
        }

        async fn advance_job(&self, _: &JobLease) -> Result<JobStepOutcome, StoreError> {
            Ok(JobStepOutcome::Lost)
        }

        async fn sweep(&self, _: usize) -> Result<usize, StoreError> {
            self.swept.fetch_add(1, Ordering::SeqCst);
            Ok(0)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn trims_without_end_do_not_hold_up_the_sweep() {
        let (again, grown) = mpsc::channel(TRIM_QUEUE_LEN);
        let again = RetentionNotifier {
            keep: 1,
            grown: again,
        };
        again.note(&[(UserId::new(1).unwrap(), Seq::new(TRIM_INTERVAL_ENTRIES))]);
        let swept = AtomicUsize::new(0);
        let inbox = Arc::new(SlowTrimStore { again, swept });
        let janitor = StoreJanitor {
            inbox: Arc::clone(&inbox) as _,
            grown,
        };
        let token = CancellationToken::new();
        let work = janitor.run(token.clone());
        let ended = tokio::time::timeout(KEY_SWEEP_INTERVAL * 5, work).await;
        assert!(ended.is_err(), "it works until the token is cancelled");
        assert!(inbox.swept.load(Ordering::SeqCst) >= 4);
    }

    #[tokio::test(start_paused = true)]
    async fn an_inbox_keeps_its_last_entries() {
        let stores = memory::stores();
        let mut node = NodeBuilder::new(stores.clone(), Arc::new(OpenBusiness));
        node.limits = Limits {
            keep_entries: 100,
            ..Limits::default()
        };
        let node = node.start();
        let (alice, bob) = (UserId::new(1).unwrap(), UserId::new(2).unwrap());
        let sender = MessageSender::User {
            user: alice,
            device: DeviceId::new(1),
        };
        for n in 0..200 {
            node.service()
                .send(sender, MessageDraft::text(bob, &n.to_string()))
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
