//! The link to one connect node: one ordered stream of delivery batches behind a bounded queue.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use gimlet_core::delivery::DeliveryBatch;
use gimlet_core::id::{DeviceId, Generation, NodeId, UserId};
use gimlet_core::peer::TAKEOVER_TIMEOUT;
use gimlet_proto::node::connect_node_client::ConnectNodeClient;
use gimlet_proto::node::deliver_request::What;
use gimlet_proto::node::{self, Plain};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::super::call::{MESSAGE_MAX_BYTES, NodeChannel};
use super::super::convert::{self, MessageForm};

/// Items that may wait to be written.
const DELIVERY_QUEUE_LEN: usize = 4_096;
/// Bytes of these items.
const DELIVERY_QUEUE_BYTES: usize = 16 << 20;
/// Bytes of one item: far below the most that a node accepts.
const BATCH_BYTES: usize = 1 << 20;
/// Time limit for opening the stream, and for each single call but a takeover.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// First and longest pause after a failure.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// An item of the stream, and the permit for its bytes in the queue.
pub(super) type QueuedDelivery = (node::DeliverRequest, OwnedSemaphorePermit);

/// One connect node.
#[derive(Debug)]
pub(super) struct ConnectLink {
    from: String,
    node: NodeId,
    client: ConnectNodeClient<NodeChannel>,
    queue: Mutex<Option<mpsc::Sender<QueuedDelivery>>>,
    room: Arc<Semaphore>,
    /// `true` if something was dropped and the node was not notified of it yet.
    missed: AtomicBool,
    /// Set once the node has announced that it reads records. Never reset, because a link belongs
    /// to one run of one node.
    accepts_record: AtomicBool,
    ended: CancellationToken,
}

impl ConnectLink {
    /// Returns the link, and the queue that [`run`](Self::run) starts with: the first batches wait
    /// there while the stream is opened.
    pub(super) fn new(
        from: String,
        node: NodeId,
        channel: NodeChannel,
    ) -> (Self, mpsc::Receiver<QueuedDelivery>) {
        let (queue, queued) = mpsc::channel(DELIVERY_QUEUE_LEN);
        let link = Self {
            from,
            node,
            client: ConnectNodeClient::new(channel).max_decoding_message_size(MESSAGE_MAX_BYTES),
            queue: Mutex::new(Some(queue)),
            room: Arc::new(Semaphore::new(DELIVERY_QUEUE_BYTES)),
            missed: AtomicBool::new(false),
            accepts_record: AtomicBool::new(false),
            ended: CancellationToken::new(),
        };
        (link, queued)
    }

    /// Ends the link: the node is gone for good.
    pub(super) fn end(&self) {
        self.ended.cancel();
    }

    /// Puts the batches on the stream, in order; `false` if some were dropped.
    pub(super) fn deliver(&self, deliveries: &[DeliveryBatch]) -> bool {
        // Locked over all items: two callers must not interleave, and `run` must not swap the queue
        // in between.
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queue.as_ref() else {
            self.missed.store(true, Ordering::Release);
            return false;
        };
        // Before its first answer, the node may be of a release that ignores records.
        let form = MessageForm::of(self.accepts_record.load(Ordering::Acquire));
        let mut batch = Vec::new();
        let mut weight = 0;
        for (at, delivery) in deliveries.iter().enumerate() {
            weight += convert::batch_weight(delivery);
            batch.push(convert::batch_out(delivery, form));
            if weight < BATCH_BYTES && at + 1 < deliveries.len() {
                continue;
            }
            if !self.put(queue, std::mem::take(&mut batch), weight) {
                self.missed.store(true, Ordering::Release);
                return false;
            }
            weight = 0;
        }
        true
    }

    fn put(
        &self,
        queue: &mpsc::Sender<QueuedDelivery>,
        parcels: Vec<node::Parcel>,
        weight: usize,
    ) -> bool {
        let weight = u32::try_from(weight.min(DELIVERY_QUEUE_BYTES)).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(weight) else {
            return false;
        };
        // Notified before the next batch: the node then compares heads, instead of a gap staying
        // unnoticed.
        if self.missed.swap(false, Ordering::AcqRel) {
            let Ok(none) = Arc::clone(&self.room).try_acquire_many_owned(0) else {
                return false;
            };
            if queue
                .try_send((word(What::Missed(Plain {})), none))
                .is_err()
            {
                return false;
            }
        }
        let parcels = word(What::Parcels(node::Parcels { parcels }));
        queue.try_send((parcels, room)).is_ok()
    }

    /// Records that something for the node was dropped before it came here.
    pub(super) fn miss(&self) {
        self.missed.store(true, Ordering::Release);
    }

    /// Notifies the node at once if something was dropped.
    pub(super) fn flush_missed(&self) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queue.as_ref()
            && self.missed.load(Ordering::Acquire)
            && !self.put(queue, Vec::new(), 0)
        {
            self.miss();
        }
    }

    /// Supersedes a connection on the node; returns whether the node acknowledged it.
    pub(super) async fn supersede(
        &self,
        user: UserId,
        device: DeviceId,
        generation: Generation,
    ) -> bool {
        let request = node::SupersedeRequest {
            device: device.get(),
            generation: generation.0,
            user: user.get(),
        };
        let mut client = self.client.clone();
        let call = client.supersede(request);
        self.call("supersede", TAKEOVER_TIMEOUT, call).await
    }

    /// Closes connections on the node; returns whether the node acknowledged it.
    pub(super) async fn disconnect(
        &self,
        user: UserId,
        device: Option<DeviceId>,
        reason: &str,
    ) -> bool {
        let request = node::DisconnectRequest {
            user: user.get(),
            device: device.map_or(0, DeviceId::get),
            reason: reason.to_owned(),
        };
        let mut client = self.client.clone();
        let call = client.disconnect(request);
        self.call("disconnect", CALL_TIMEOUT, call).await
    }

    async fn call<T>(
        &self,
        what: &str,
        limit: Duration,
        call: impl Future<Output = Result<T, Status>>,
    ) -> bool {
        match timeout(limit, call).await {
            Ok(Ok(_)) => return true,
            Ok(Err(status)) => {
                let why = status.message();
                tracing::debug!(node = %self.node, what, why, "a connect node failed a call");
            }
            Err(_) => {
                tracing::debug!(node = %self.node, what, "a connect node did not answer in time");
            }
        }
        false
    }

    /// Keeps the stream open until `stop` or the end of the node.
    pub(super) async fn run(
        self: Arc<Self>,
        mut queued: mpsc::Receiver<QueuedDelivery>,
        stop: CancellationToken,
    ) {
        let mut pause = RETRY_PAUSE.0;
        loop {
            let why = {
                let mut streaming = std::pin::pin!(self.stream(queued, &mut pause));
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {
                        // Dropping the queue's sender lets the stream write what is queued and then
                        // end.
                        self.set(None);
                        let _ = timeout(CALL_TIMEOUT, streaming).await;
                        return;
                    }
                    () = self.ended.cancelled() => break,
                    why = streaming.as_mut() => why,
                }
            };
            // Queued batches are dropped with their queue and never repeated (law 6). `missed` is
            // set after the queue is gone: set before, a `deliver` in between would clear it with a
            // notification that is lost with the queue.
            self.set(None);
            self.missed.store(true, Ordering::Release);
            tracing::debug!(node = %self.node, why, "the stream to a connect node ended");
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.ended.cancelled() => break,
                () = sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)) => {}
            }
            pause = (pause * 2).min(RETRY_PAUSE.1);
            let (queue, again) = mpsc::channel(DELIVERY_QUEUE_LEN);
            queued = again;
            self.set(Some(queue));
        }
        self.set(None);
    }

    fn set(&self, queue: Option<mpsc::Sender<QueuedDelivery>>) {
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = queue;
    }

    /// Opens the stream and waits for its end; returns the reason of the end.
    async fn stream(&self, queued: mpsc::Receiver<QueuedDelivery>, pause: &mut Duration) -> String {
        let mut replies = match timeout(CALL_TIMEOUT, self.open(queued)).await {
            Ok(Ok(replies)) => replies,
            Ok(Err(status)) => return status.message().to_owned(),
            Err(_) => return "it did not answer in time".into(),
        };
        tracing::debug!(node = %self.node, "stream to a connect node opened");
        loop {
            match replies.message().await {
                // Only an accepted stream resets the pause: a node that refuses every stream is
                // tried less and less often.
                Ok(Some(reply)) => {
                    *pause = RETRY_PAUSE.0;
                    self.accepts_record
                        .store(reply.accepts_record, Ordering::Release);
                }
                Ok(None) => return "it ended the stream".into(),
                Err(status) => return status.message().to_owned(),
            }
        }
    }

    async fn open(
        &self,
        mut queued: mpsc::Receiver<QueuedDelivery>,
    ) -> Result<Streaming<node::DeliverReply>, Status> {
        let hello = word(What::Hello(node::Hello {
            from: self.from.clone(),
            boot: self.node.boot,
        }));
        // A new stream begins with the notification. If opening it fails, `run` sets the flag
        // again.
        let missed = self.missed.swap(false, Ordering::AcqRel);
        let missed = missed.then(|| word(What::Missed(Plain {})));
        let first = stream::iter(std::iter::once(hello).chain(missed));
        // The permit of an item is released when the item is taken to be written.
        let rest = stream::poll_fn(move |cx| queued.poll_recv(cx)).map(|(request, _room)| request);
        let mut client = self.client.clone();
        Ok(client.deliver(first.chain(rest)).await?.into_inner())
    }
}

fn word(what: What) -> node::DeliverRequest {
    node::DeliverRequest { what: Some(what) }
}
