//! Fixtures that the unit tests of several modules share.

use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backlog::OpenJobs;
use crate::batch::SendBatcher;
use crate::delivery::DeliveryBatch;
use crate::envelope::Envelope;
use crate::events::EventHooks;
use crate::fanout::{LocalSink, MessageFanout};
use crate::id::{DeviceId, NodeId, UserId};
use crate::janitor::StoreJanitor;
use crate::limits::Limits;
use crate::memory;
use crate::message::{Message, MessageReceiver, MessageSender, UserProfile};
use crate::peer::SingleNodePeer;
use crate::roster::RosterCache;
use crate::store::{AppendRequest, InboxStore, StoreSet};
use crate::testkit::helpers::{self, user};

/// Implements an inbox store by the methods given here; all other methods are those of its field
/// `inner`.
macro_rules! inbox_store_over_inner {
    ($store:ty { $($own:tt)* }) => {
        #[::async_trait::async_trait]
        impl $crate::store::InboxStore for $store {
            $($own)*

            async fn after(
                &self,
                user: $crate::id::UserId,
                seq: $crate::seq::Seq,
                limit: $crate::page::PageLimit,
            ) -> Result<$crate::store::InboxSlice, $crate::store::StoreError> {
                self.inner.after(user, seq, limit).await
            }

            async fn trim(
                &self,
                user: $crate::id::UserId,
                upto: $crate::seq::Seq,
            ) -> Result<(), $crate::store::StoreError> {
                self.inner.trim(user, upto).await
            }

            async fn claim_job(
                &self,
                group: Option<$crate::id::GroupId>,
            ) -> Result<Option<$crate::store::JobLease>, $crate::store::StoreError> {
                self.inner.claim_job(group).await
            }

            async fn advance_job(
                &self,
                lease: &$crate::store::JobLease,
            ) -> Result<$crate::store::JobStepOutcome, $crate::store::StoreError> {
                self.inner.advance_job(lease).await
            }

            async fn sweep(&self, max: usize) -> Result<usize, $crate::store::StoreError> {
                self.inner.sweep(max).await
            }
        }
    };
}

pub(crate) use inbox_store_over_inner;

/// Records what this node's connections are to do.
#[derive(Debug, Default)]
pub(crate) struct RecordingSink {
    pub(crate) batches: Mutex<Vec<DeliveryBatch>>,
    pub(crate) closed: Mutex<Vec<(UserId, Option<DeviceId>)>>,
}

impl LocalSink for RecordingSink {
    fn deliver(&self, batches: &[DeliveryBatch]) {
        self.batches.lock().unwrap().extend(batches.iter().cloned());
    }

    fn disconnect(&self, user: UserId, device: Option<DeviceId>, _: &str) {
        self.closed.lock().unwrap().push((user, device));
    }
}

impl RecordingSink {
    /// Returns the user and the seq of each pushed entry, in order.
    pub(crate) fn entries(&self) -> Vec<(u64, u64)> {
        let batches = self.batches.lock().unwrap();
        let entries = batches.iter().filter_map(|batch| match batch {
            DeliveryBatch::Entries { to, .. } => Some(to.clone()),
            _ => None,
        });
        entries
            .flatten()
            .map(|(user, seq)| (user.get(), seq.get()))
            .collect()
    }

    /// Returns the seqs of the pushed entries, in order.
    pub(crate) fn seqs(&self) -> Vec<u64> {
        self.entries().into_iter().map(|(_, seq)| seq).collect()
    }
}

/// A running batch writer over in-memory stores, with a store of the test's own for the inboxes.
pub(crate) struct BatcherFixture {
    pub(crate) stores: StoreSet,
    pub(crate) sink: Arc<RecordingSink>,
    pub(crate) batcher: SendBatcher,
    pub(crate) jobs: OpenJobs,
    pub(crate) tracker: TaskTracker,
    pub(crate) token: CancellationToken,
}

impl BatcherFixture {
    /// Starts a batch writer. `wrap` makes the store for the inboxes from the one in memory.
    pub(crate) fn start<S: InboxStore>(
        limits: &Limits,
        wrap: impl FnOnce(Arc<dyn InboxStore>) -> S,
    ) -> (Self, Arc<S>) {
        let stores = memory::stores();
        let store = Arc::new(wrap(Arc::clone(&stores.inbox)));
        let sink = Arc::new(RecordingSink::default());
        let (tracker, token) = (TaskTracker::new(), CancellationToken::new());
        let fanout = MessageFanout::new(
            NodeId::boot("here"),
            Arc::clone(&sink) as _,
            Arc::new(SingleNodePeer),
            Arc::clone(&stores.route),
        );
        let jobs = OpenJobs::new(limits);
        let batcher = SendBatcher::start(
            Arc::clone(&store) as _,
            limits,
            &tracker,
            token.clone(),
            fanout,
            jobs.clone(),
            StoreJanitor::new(Arc::clone(&store) as _, 0).1,
            RosterCache::new(Arc::clone(&stores.group), 1_000),
        );
        let fixture = Self {
            stores,
            sink,
            batcher,
            jobs,
            tracker,
            token,
        };
        (fixture, store)
    }

    /// Stops the batch writer and waits for all its tasks.
    pub(crate) async fn stop(self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Returns a send of this text, from a user (or from the business backend) to another, and the
/// message's envelope.
pub(crate) fn direct_send(
    from: Option<u64>,
    to: u64,
    text: &str,
) -> (AppendRequest, Arc<Envelope>) {
    let sender = from.map_or(MessageSender::Business, |from| MessageSender::User {
        user: user(from),
        device: DeviceId::new(1),
    });
    let message = Arc::new(Message {
        sender,
        ..helpers::message(MessageReceiver::User(user(to)), text.to_owned())
    });
    let append = AppendRequest {
        message: Arc::clone(&message),
        recipients: from.into_iter().chain([to]).map(user).collect(),
        key: None,
        roster: None,
        hooks: EventHooks::NONE,
    };
    (append, envelope(message))
}

/// Returns the envelope of a message whose sender has no profile.
pub(crate) fn envelope(message: impl Into<Arc<Message>>) -> Arc<Envelope> {
    Arc::new(Envelope::new(
        message.into(),
        Arc::new(UserProfile::default()),
        0,
    ))
}

/// Lets all runnable tasks make progress.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
