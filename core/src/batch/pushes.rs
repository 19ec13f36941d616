//! Pushes of stored sends, delivered in the order in which their batches ended.

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::delivery::DeliveryBatch;
use crate::fanout::MessageFanout;

/// Capacity of the queue of pushes to other nodes, in batches. Above it pushes are dropped (law 6).
const REMOTE_PUSH_QUEUE_LEN: usize = 64;

/// Pushes of the batches that have ended, and the fan-out that delivers them.
#[derive(Debug)]
pub(super) struct BatchPushes {
    fanout: MessageFanout,
    remote: mpsc::Sender<Vec<DeliveryBatch>>,
    deliveries: Vec<DeliveryBatch>,
}

impl BatchPushes {
    /// Starts the task that sends the pushes to other nodes, in the order of the batches. It runs
    /// beside the batch writer, so that a slow read of routes delays pushes only. The task ends
    /// when the writer is dropped.
    pub(super) fn start(fanout: MessageFanout, tracker: &TaskTracker) -> Self {
        let (remote, mut queued) = mpsc::channel::<Vec<DeliveryBatch>>(REMOTE_PUSH_QUEUE_LEN);
        let remote_fanout = fanout.clone();
        tracker.spawn(async move {
            while let Some(deliveries) = queued.recv().await {
                remote_fanout.remote(deliveries).await;
            }
        });
        Self {
            fanout,
            remote,
            deliveries: Vec::new(),
        }
    }

    /// Adds the pushes of a batch that has ended.
    pub(super) fn add(&mut self, deliveries: Vec<DeliveryBatch>) {
        if self.deliveries.is_empty() {
            self.deliveries = deliveries;
        } else {
            self.deliveries.extend(deliveries);
        }
    }

    /// Delivers the pushes without waiting: to this node's connections at once, to other nodes
    /// through the queue.
    pub(super) fn deliver(&mut self) {
        let deliveries = std::mem::take(&mut self.deliveries);
        if deliveries.is_empty() {
            return;
        }
        self.fanout.local(&deliveries);
        if self.fanout.is_alone() {
            return;
        }
        if let Err(error) = self.remote.try_send(deliveries) {
            crate::warn_rated!(%error, "pushes to other nodes dropped; recipients read them later");
        }
    }
}
