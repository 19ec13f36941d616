//! The future of a send.
//!
//! Returned by [`LogicRole::send`](crate::logic::LogicRole::send). Most sends are in the batch
//! writer's queue by the time the call returns and only wait for their answer: they need no task,
//! no timer and no allocation of their own. The others are boxed futures.
//!
//! Order: sends of one user are stored in the order in which they were started, so a send starts
//! when it is created and not when it is first polled.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::batch::CompletionHandle;
use crate::error::RequestRefusal;
use crate::id::MessageId;
use crate::seq::Seq;
use crate::store::AppendOutcome;

/// The answer to a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendReceipt {
    /// Seq of the sender's own copy; of the recipient's copy if a backend sent to one user; zero if
    /// nothing was stored, and for a backend's send to a group.
    pub seq: Seq,
    /// Id of the message.
    pub message: MessageId,
    /// True if the send was a repeat, which gets the answer of the first send.
    pub repeated: bool,
}

type SendResult = Result<SendReceipt, RequestRefusal>;

/// A send in progress. If it is dropped, a queued send is stored all the same, and one that still
/// waits for its user's order lock is cancelled.
#[must_use = "poll or await the send to get its answer"]
pub struct SendFuture {
    state: SendState,
    /// Timer for the deadline, made when the future is awaited; a caller of
    /// [`poll_answer`](Self::poll_answer) brings its own timer.
    timer: Option<Pin<Box<Sleep>>>,
}

enum SendState {
    /// Answered; `None` after the answer was taken.
    Done(Option<SendResult>),
    /// In the batch writer's queue, with the deadline and the message's id.
    Queued(CompletionHandle, Instant, MessageId),
    /// Checks have to complete before the send can be queued.
    Pending(Pin<Box<dyn Future<Output = SendResult> + Send>>),
}

impl SendFuture {
    /// Makes a send that is already answered.
    pub const fn done(answer: SendResult) -> Self {
        Self::by(SendState::Done(Some(answer)))
    }

    /// Makes a send that is in the batch writer's queue and stores one message; the seq of its
    /// first entry is the answer.
    pub(crate) const fn queued(
        entered: CompletionHandle,
        deadline: Instant,
        id: MessageId,
    ) -> Self {
        Self::by(SendState::Queued(entered, deadline, id))
    }

    /// Makes a send from a future, and polls the future once right away: sends take their user's
    /// order lock in the order in which they were started, not in the order in which they are
    /// awaited.
    pub fn started(work: impl Future<Output = SendResult> + Send + 'static) -> Self {
        let mut work: Pin<Box<dyn Future<Output = SendResult> + Send>> = Box::pin(work);
        // Unconstrained: a task whose tokio budget is used up would get `Pending` from the lock
        // without entering its wait queue, and a later send could overtake this one.
        let begun = unconstrained(work.as_mut());
        // The no-op waker is replaced when the caller polls the returned send for the first time.
        match pin!(begun).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Self::done(answer),
            Poll::Pending => Self::by(SendState::Pending(work)),
        }
    }

    /// As [`started`](Self::started), but lazy: it starts when it is first polled. The caller holds
    /// several sends of one connection and polls them in their order.
    pub(crate) fn lazy(work: impl Future<Output = SendResult> + Send + 'static) -> Self {
        Self::by(SendState::Pending(Box::pin(work)))
    }

    const fn by(way: SendState) -> Self {
        Self {
            state: way,
            timer: None,
        }
    }

    /// Returns `true` if the send completes without being polled: it is queued or answered.
    #[must_use]
    pub const fn is_detached(&self) -> bool {
        !matches!(self.state, SendState::Pending(_))
    }

    /// Returns the time at which [`poll_answer`](Self::poll_answer) must be called even if the task
    /// is not woken.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        match &self.state {
            SendState::Queued(_, deadline, _) => Some(*deadline),
            SendState::Done(_) | SendState::Pending(_) => None,
        }
    }

    /// Polls for the answer, which is returned once. It sets no timer: one timer of the caller
    /// serves many sends.
    pub fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<SendResult> {
        match &mut self.state {
            SendState::Done(answer) => {
                Poll::Ready(answer.take().unwrap_or(Err(RequestRefusal::Internal)))
            }
            SendState::Queued(entered, deadline, id) => entered
                .poll_answer(cx, *deadline)
                .map(|appended| sent(appended?, *id)),
            SendState::Pending(work) => work.as_mut().poll(cx),
        }
    }
}

/// Converts the outcome of an append whose first entry is the sender's own copy, or the only entry.
pub(crate) fn sent(appended: AppendOutcome, id: MessageId) -> SendResult {
    match appended {
        AppendOutcome::Stored { seqs, .. } => Ok(SendReceipt {
            seq: seqs.first().map_or(Seq::ZERO, |(_, seq)| *seq),
            message: id,
            repeated: false,
        }),
        AppendOutcome::Repeated { message, seq } => Ok(SendReceipt {
            seq,
            message,
            repeated: true,
        }),
        AppendOutcome::Conflict => Err(RequestRefusal::Conflict),
        AppendOutcome::Stale => Err(RequestRefusal::Internal),
    }
}

impl Future for SendFuture {
    type Output = SendResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<SendResult> {
        loop {
            // The answer before the timer: an answer that arrives together with the deadline is
            // returned. After the deadline `poll_answer` itself returns the refusal, which is why
            // the loop runs again.
            if let Poll::Ready(answer) = self.poll_answer(cx) {
                return Poll::Ready(answer);
            }
            let Some(deadline) = self.deadline() else {
                return Poll::Pending;
            };
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            std::task::ready!(timer.as_mut().poll(cx));
        }
    }
}

impl fmt::Debug for SendFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match &self.state {
            SendState::Done(answer) => return f.debug_tuple("Done").field(answer).finish(),
            SendState::Queued(..) => "Entered",
            SendState::Pending(_) => "Asked",
        };
        f.write_str(way)
    }
}
