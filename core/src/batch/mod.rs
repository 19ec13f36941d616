//! The batcher: one ordered lane in front of the inbox store.
//!
//! Serves `service::send`. Sends that arrive while a batch commits form the next one, so that one
//! commit is shared by all who wait for it; a lone send is not delayed. It knows sends and parcels,
//! and neither groups nor users' rights.

mod lane;
mod ticket;

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::envelope::Envelope;
use crate::error::Refusal;
use crate::fanout::Fanout;
use crate::id::UserId;
use crate::limits::Limits;
use crate::service::janitor::Retention;
use crate::service::job::Jobs;
use crate::store::{Append, Appended, InboxStore};

use lane::{Lane, Waiting};
use ticket::{Stub, Ticket};

/// The door to the lane. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Batcher {
    queue: mpsc::Sender<Waiting>,
    /// What may wait, in KiB.
    bytes: Arc<Semaphore>,
}

impl Batcher {
    /// Starts the lane's tasks on the tracker. When the token is cancelled the queue closes, what
    /// waits in it is still stored, answered and delivered, and the tasks end.
    #[must_use]
    pub(crate) fn start(
        inbox: Arc<dyn InboxStore>,
        limits: &Limits,
        tracker: &TaskTracker,
        token: CancellationToken,
        fanout: Fanout,
        jobs: Jobs,
        retention: Retention,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(limits.send_queue.max(1));
        let lane = Lane::new(inbox, limits, tracker.clone(), fanout, jobs, retention);
        tracker.spawn(lane.run(waiting, token));
        let kib = (limits.send_queue_bytes >> 10).min(Semaphore::MAX_PERMITS);
        let bytes = Arc::new(Semaphore::new(kib));
        Self { queue, bytes }
    }

    /// Puts a send into the lane: those that enter before are stored before. Its live push follows
    /// the answer.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if the queue is full, by count or by bytes.
    pub fn enter(&self, append: Append, envelope: Arc<Envelope>) -> Result<Entered, Refusal> {
        let (ticket, stub) = Ticket::new();
        let message = &append.message;
        // As if no other send shared its list of recipients: a bound may be too careful.
        let users = message.mentions.len() + append.recipients.len();
        let size = message.content.len() + users * size_of::<UserId>();
        let kib = u32::try_from(size.div_ceil(1 << 10).max(1)).unwrap_or(u32::MAX);
        let held = Arc::clone(&self.bytes).try_acquire_many_owned(kib);
        let held = held.map_err(|_| Refusal::Unavailable)?;
        let waiting = Waiting {
            append,
            envelope,
            ticket,
            held,
        };
        self.queue
            .try_send(waiting)
            .map_err(|_| Refusal::Unavailable)?;
        Ok(Entered { stub })
    }

    /// Enters and waits.
    #[cfg(test)]
    pub(crate) async fn append(
        &self,
        append: Append,
        envelope: Arc<Envelope>,
        deadline: Instant,
    ) -> Result<Appended, Refusal> {
        self.enter(append, envelope)?.answer(deadline).await
    }
}

/// A send in the lane.
#[derive(Debug)]
pub struct Entered {
    stub: Stub,
}

impl Entered {
    /// Ready when the send is durable, or the deadline has passed; has no timer of its own.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if it was not stored and never will be: the deadline passed before
    /// its batch began. [`Refusal::Unknown`] if its batch had begun.
    pub fn poll_answer(
        &self,
        cx: &Context<'_>,
        deadline: Instant,
    ) -> Poll<Result<Appended, Refusal>> {
        if let Poll::Ready(answer) = self.stub.poll(cx) {
            return Poll::Ready(answer);
        }
        if Instant::now() < deadline {
            return Poll::Pending;
        }
        if self.stub.withdraw() {
            return Poll::Ready(Err(Refusal::Unavailable));
        }
        // The answer may have come in the very moment the deadline passed.
        let answered = self.stub.poll(cx);
        Poll::Ready(match answered {
            Poll::Ready(answer) => answer,
            Poll::Pending => Err(Refusal::Unknown),
        })
    }

    /// Waits until the send is durable, or the deadline has passed.
    ///
    /// # Errors
    /// Those of [`poll_answer`](Self::poll_answer).
    pub async fn answer(self, deadline: Instant) -> Result<Appended, Refusal> {
        let answered = poll_fn(|cx| self.poll_answer(cx, deadline));
        match timeout_at(deadline, answered).await {
            Ok(answer) => answer,
            Err(_) => poll_fn(|cx| self.poll_answer(cx, deadline)).await,
        }
    }
}
