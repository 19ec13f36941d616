//! The link to one logic node: one ordered stream of sends, and a channel for everything else.
//!
//! The stream is also the health check: no call goes to the node while the stream is not open, and
//! reopening it, with growing pauses, is the probe.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{FutureExt as _, stream};
use gimlet_core::error::RequestRefusal;
use gimlet_core::message::{MessageDraft, MessageSender};
use gimlet_core::send_future::SendReceipt;
use gimlet_proto::node;
use gimlet_proto::node::logic_node_client::LogicNodeClient;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::super::call::{MESSAGE_MAX_BYTES, NodeChannel};
use super::super::convert;
use super::super::refusal::decode;

/// Sends that may wait to be written; more are refused.
const SEND_QUEUE_LEN: usize = 8_192;
/// Time limit for opening the stream.
const OPEN_TIMEOUT: Duration = Duration::from_millis(1_500);
/// First and longest pause after a failure.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Time that a node that is shutting down has to answer the sends in flight.
const SHUTDOWN_ANSWER_TIME: Duration = Duration::from_secs(4);

pub(super) type LogicClient = LogicNodeClient<NodeChannel>;
type SendOutcome = Result<SendReceipt, RequestRefusal>;

/// One logic node.
#[derive(Debug)]
pub(super) struct LogicLink {
    address: String,
    client: LogicClient,
    up: watch::Sender<bool>,
    send_stream: Mutex<Option<OpenSendStream>>,
    doubted: Notify,
}

/// An open stream.
#[derive(Debug)]
struct OpenSendStream {
    queue: mpsc::Sender<node::SendRequest>,
    next: u64,
    pending: PendingSends,
}

/// Waiting callers by the id of their send, each with the budget that its send holds until the
/// answer.
type PendingSends = Arc<Mutex<HashMap<u64, (oneshot::Sender<SendOutcome>, OwnedSemaphorePermit)>>>;

/// Reasons a stream ended.
enum StreamEnd {
    /// The node has announced that it is shutting down.
    Going,
    /// This node is shutting down.
    Stopped,
    /// The stream broke.
    Broken(String),
}

impl LogicLink {
    pub(super) fn new(address: &str, channel: NodeChannel) -> Self {
        Self {
            address: address.to_owned(),
            client: LogicNodeClient::new(channel).max_decoding_message_size(MESSAGE_MAX_BYTES),
            up: watch::Sender::new(false),
            send_stream: Mutex::new(None),
            doubted: Notify::new(),
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn client(&self) -> LogicClient {
        self.client.clone()
    }

    pub(super) fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    /// Waits until the node is reached.
    pub(super) async fn reached(&self) {
        let mut up = self.up.subscribe();
        // The sender is a field of `self`, so the watch cannot be closed.
        let _ = up.wait_for(|up| *up).await;
    }

    /// Waits until the node is not reached.
    pub(super) async fn lost(&self) {
        let mut up = self.up.subscribe();
        let _ = up.wait_for(|up| !*up).await;
    }

    /// Puts a send on the stream and returns a receiver for its answer, which fails if the stream
    /// breaks first. `None` if the send was not put on the stream.
    pub(super) fn send(
        &self,
        sender: MessageSender,
        draft: MessageDraft,
        room: OwnedSemaphorePermit,
    ) -> Option<oneshot::Receiver<SendOutcome>> {
        // The send stream is locked until the send is queued: sends must be queued in the order of
        // their ids, which is the order in which callers started them.
        let mut place = lock(&self.send_stream);
        let stream = place.as_mut()?;
        stream.next += 1;
        let id = stream.next;
        let (answer, answered) = oneshot::channel();
        // Registered before it is queued: the answer may come before `try_send` returns.
        lock(&stream.pending).insert(id, (answer, room));
        if stream
            .queue
            .try_send(convert::send_out(id, sender, draft))
            .is_err()
        {
            lock(&stream.pending).remove(&id);
            return None;
        }
        Some(answered)
    }

    /// Gives the stream up after a send was not answered in time, although the node answers each
    /// send in less time.
    pub(super) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Keeps the stream open until `stop`.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut pause = RETRY_PAUSE.0;
        let mut is_failure_logged = false;
        loop {
            let opened = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                opened = timeout(OPEN_TIMEOUT, self.open()) => opened,
            };
            let end = match opened {
                Ok(Ok((replies, pending))) => {
                    gimlet_core::info_rated!(node = self.address, "logic node reached");
                    // A new outage starts with the short pause again, and its first failure is
                    // logged again.
                    (pause, is_failure_logged) = (RETRY_PAUSE.0, false);
                    self.pump(replies, &pending, &stop).await
                }
                Ok(Err(status)) => StreamEnd::Broken(status.message().to_owned()),
                Err(_) => StreamEnd::Broken("it did not answer in time".into()),
            };
            // Dropping the send stream (and `pending`, when the arm above ended) fails the
            // receivers of all unanswered sends: their outcome is unknown.
            self.close();
            match end {
                StreamEnd::Stopped => return,
                StreamEnd::Going => {
                    gimlet_core::info_rated!(node = self.address, "logic node stopping");
                }
                StreamEnd::Broken(why) if !is_failure_logged => {
                    is_failure_logged = true;
                    gimlet_core::warn_rated!(node = self.address, why, "logic node not reached");
                }
                StreamEnd::Broken(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)) => {}
            }
            pause = (pause * 2).min(RETRY_PAUSE.1);
        }
    }

    async fn open(&self) -> Result<(Streaming<node::SendReply>, PendingSends), Status> {
        let (queue, mut queued) = mpsc::channel(SEND_QUEUE_LEN);
        let requests = stream::poll_fn(move |cx| queued.poll_recv(cx));
        let replies = self.client().send(requests).await?.into_inner();
        let pending = PendingSends::default();
        // The send stream exists before `up` is set: a caller that sees `up` must find one.
        *lock(&self.send_stream) = Some(OpenSendStream {
            queue,
            next: 0,
            pending: Arc::clone(&pending),
        });
        self.up.send_replace(true);
        Ok((replies, pending))
    }

    /// Hands answers to the waiting callers until the stream ends.
    async fn pump(
        &self,
        mut replies: Streaming<node::SendReply>,
        pending: &PendingSends,
        stop: &CancellationToken,
    ) -> StreamEnd {
        // Discards a doubt about an earlier stream: `Notify` stores one, and it would break this
        // stream.
        let _ = self.doubted.notified().now_or_never();
        let mut going = None;
        loop {
            // The doubt is polled before the answers: a stream that still delivers other answers
            // must be given up as well. The end of the shutdown time is last, so that an answer
            // that is already here still counts.
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => return StreamEnd::Stopped,
                () = self.doubted.notified() => {
                    return StreamEnd::Broken("it did not answer a send in time".into());
                }
                next = replies.message() => next,
                () = after(going) => return StreamEnd::Going,
            };
            match next {
                Ok(Some(reply)) if reply.closing => {
                    going = Some(Instant::now() + SHUTDOWN_ANSWER_TIME);
                    // Dropping the queue's sender ends the request stream after everything in it;
                    // answers still come.
                    self.close();
                }
                Ok(Some(reply)) => answer(pending, reply),
                Ok(None) | Err(_) if going.is_some() => return StreamEnd::Going,
                Ok(None) => return StreamEnd::Broken("it ended the stream".into()),
                Err(status) => return StreamEnd::Broken(status.message().to_owned()),
            }
        }
    }

    fn close(&self) {
        // In the reverse order of `open`: callers stop choosing this node before its send stream is
        // gone.
        self.up.send_replace(false);
        lock(&self.send_stream).take();
    }
}

async fn after(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn answer(pending: &PendingSends, reply: node::SendReply) {
    let Some((waiting, _room)) = lock(pending).remove(&reply.id) else {
        return;
    };
    let outcome = match reply.refusal {
        Some(refusal) => Err(decode(refusal)),
        None => convert::sent_in(reply.sent).map_err(|error| {
            gimlet_core::error_rated!(%error, "received an unreadable answer from a logic node");
            RequestRefusal::Unknown
        }),
    };
    // The caller may be gone.
    let _ = waiting.send(outcome);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poisoned lock is safe to use: each change is one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
