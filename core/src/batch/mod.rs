//! The batcher: sends of a node on their way into the inbox store.
//!
//! Serves `service::send`. Sends that arrive while a batch commits form the next one, so that one
//! commit is shared by all who wait for it; a lone send is not delayed. It knows sends, groups' rosters
//! and parcels, and no user's rights.
//!
//! - [`queue`](self): bounded, in order for each sender, fair between senders.
//! - `writer`: forms batches, as many in flight as the store takes, none sharing a user or a group.
//! - `aside`: what met a lock of another node. `replan`: group sends whose roster has changed.

mod aside;
mod in_flight;
mod outcome;
mod pushes;
mod queue;
mod replan;
mod ticket;
mod waiting;
mod writer;

#[cfg(test)]
mod parallel_tests;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::envelope::Envelope;
use crate::error::Refusal;
use crate::fanout::Fanout;
use crate::limits::Limits;
use crate::service::backlog::{JobShare, Jobs};
use crate::service::janitor::Retention;
use crate::service::roster::Rosters;
use crate::store::{Append, Appended, InboxStore};

use queue::SendQueue;
use ticket::{Stub, Ticket};
use waiting::Waiting;
use writer::BatchWriter;

/// The entry point of the batch writer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Batcher {
    queue: Arc<SendQueue>,
}

impl Batcher {
    /// Starts the batch writer on the tracker. When the token is cancelled the queue closes, what
    /// waits in it is still stored, answered and delivered, and the tasks end.
    #[must_use]
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of the one writer there is"
    )]
    pub(crate) fn start(
        inbox: Arc<dyn InboxStore>,
        limits: &Limits,
        tracker: &TaskTracker,
        token: CancellationToken,
        fanout: Fanout,
        jobs: Jobs,
        retention: Retention,
        rosters: Rosters,
    ) -> Self {
        let queue = Arc::new(SendQueue::new(limits));
        let writer = BatchWriter::new(
            inbox,
            Arc::clone(&queue),
            limits,
            tracker,
            fanout,
            jobs,
            retention,
            rosters,
        );
        tracker.spawn(writer.run(token));
        Self { queue }
    }

    /// Puts a send into the queue: those of the same sender that enter before are stored before. Its
    /// live push follows the answer.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if the queue, or the sender's share of it, is full, by count or by bytes;
    /// [`Refusal::Unavailable`] if the node stops.
    pub fn enter(&self, append: Append, envelope: Arc<Envelope>) -> Result<Entered, Refusal> {
        self.enter_job(append, envelope, None)
    }

    /// The same for a send that may become a group job, with its room in the backlog.
    pub(crate) fn enter_job(
        &self,
        append: Append,
        envelope: Arc<Envelope>,
        share: Option<JobShare>,
    ) -> Result<Entered, Refusal> {
        let (ticket, stub) = Ticket::new();
        let send = Waiting::new(append, envelope, share, ticket);
        self.queue.enter(send)?;
        Ok(Entered { stub })
    }

    /// Sends that wait for a batch, and the bytes of sends that are not answered.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        self.queue.depth()
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

/// A send in the queue or in a batch.
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
