//! The batch writer of a node: takes sends from the services and stores them in the inbox store.
//!
//! Serves `service::send`. Sends that arrive while a batch commits form the next batch, so all of
//! them share one commit; a lone send is not delayed. This module knows sends, group rosters and
//! delivery batches. It does not check what a user may do.
//!
//! - [`queue`](self): the bounded queue. It keeps each sender's order and is fair between senders.
//! - `writer`: forms batches and keeps as many in flight as the store allows. No two of them share
//!   a user or a group.
//! - `deferred`: defers sends that met a lock held by another node.
//! - `replan`: plans group sends again when their roster has changed.
//! - `statistics`: sizes and times of the batches, for the metrics.

mod completion;
mod deferred;
mod in_flight;
mod outcome;
mod pushes;
mod queue;
mod queued_send;
mod replan;
mod statistics;
mod writer;

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backlog::{JobShare, OpenJobs};
use crate::envelope::Envelope;
use crate::error::RequestRefusal;
use crate::fanout::MessageFanout;
use crate::janitor::RetentionNotifier;
use crate::limits::Limits;
use crate::roster::RosterCache;
use crate::store::{AppendOutcome, AppendRequest, InboxStore};

use completion::{CompletionReceiver, CompletionSender};
use queue::SendQueue;
use queued_send::QueuedSend;
use writer::BatchWriter;

pub use statistics::BatchCounts;

/// Entry point of the batch writer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SendBatcher {
    queue: Arc<SendQueue>,
}

impl SendBatcher {
    /// Starts the batch writer on the tracker. When the token is cancelled, the queue closes; sends
    /// that already wait in it are still stored, answered and delivered, then the tasks end.
    #[must_use]
    #[expect(
        clippy::too_many_arguments,
        reason = "each argument is one collaborator of the batch writer"
    )]
    pub(crate) fn start(
        inbox: Arc<dyn InboxStore>,
        limits: &Limits,
        tracker: &TaskTracker,
        token: CancellationToken,
        fanout: MessageFanout,
        jobs: OpenJobs,
        retention: RetentionNotifier,
        rosters: RosterCache,
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

    /// Puts a send into the queue. Sends of one sender are stored in the order in which they enter,
    /// except that a group send whose roster has changed holds back only later sends of its group.
    /// The live push follows the answer.
    ///
    /// # Errors
    /// [`RequestRefusal::Busy`] if the queue, or the sender's share of it, is full, by count or by
    /// bytes; [`RequestRefusal::Unavailable`] if the node is stopping.
    pub fn enter(
        &self,
        append: AppendRequest,
        envelope: Arc<Envelope>,
    ) -> Result<CompletionHandle, RequestRefusal> {
        self.enter_job(append, envelope, None)
    }

    /// As [`enter`](Self::enter), for a send that may become a group job; `share` is its
    /// reservation in the job backlog.
    pub(crate) fn enter_job(
        &self,
        append: AppendRequest,
        envelope: Arc<Envelope>,
        share: Option<JobShare>,
    ) -> Result<CompletionHandle, RequestRefusal> {
        let (sender, receiver) = CompletionSender::new();
        let send = QueuedSend::new(append, envelope, share, sender);
        self.queue.enter(send)?;
        Ok(CompletionHandle { receiver })
    }

    /// Returns the number of sends that wait for a batch, and the bytes of sends not yet answered.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        self.queue.depth()
    }

    /// Returns the counts of batches at the store.
    #[must_use]
    pub fn counts(&self) -> BatchCounts {
        self.queue.statistics.counts()
    }

    /// Enters a send and waits for its answer.
    #[cfg(test)]
    pub(crate) async fn append(
        &self,
        append: AppendRequest,
        envelope: Arc<Envelope>,
        deadline: Instant,
    ) -> Result<AppendOutcome, RequestRefusal> {
        self.enter(append, envelope)?.answer(deadline).await
    }
}

/// Completion handle of a send that is in the queue or in a batch.
#[derive(Debug)]
pub struct CompletionHandle {
    receiver: CompletionReceiver,
}

impl CompletionHandle {
    /// Polls for the outcome: ready when the send is durable or the deadline has passed. Has no
    /// timer of its own, so the caller must poll again at the deadline.
    ///
    /// # Errors
    /// [`RequestRefusal::Unavailable`] if the send was not stored and never will be: the deadline
    /// passed before its batch began. [`RequestRefusal::Unknown`] if its batch had begun.
    pub fn poll_answer(
        &self,
        cx: &Context<'_>,
        deadline: Instant,
    ) -> Poll<Result<AppendOutcome, RequestRefusal>> {
        if let Poll::Ready(answer) = self.receiver.poll(cx) {
            return Poll::Ready(answer);
        }
        if Instant::now() < deadline {
            return Poll::Pending;
        }
        if self.receiver.withdraw() {
            return Poll::Ready(Err(RequestRefusal::Unavailable));
        }
        // The answer may have arrived between the first poll and `withdraw`.
        let answered = self.receiver.poll(cx);
        Poll::Ready(match answered {
            Poll::Ready(answer) => answer,
            Poll::Pending => Err(RequestRefusal::Unknown),
        })
    }

    /// Waits until the send is durable, or the deadline has passed.
    ///
    /// # Errors
    /// Those of [`poll_answer`](Self::poll_answer).
    pub async fn answer(self, deadline: Instant) -> Result<AppendOutcome, RequestRefusal> {
        let answered = poll_fn(|cx| self.poll_answer(cx, deadline));
        match timeout_at(deadline, answered).await {
            Ok(answer) => answer,
            Err(_) => poll_fn(|cx| self.poll_answer(cx, deadline)).await,
        }
    }
}
