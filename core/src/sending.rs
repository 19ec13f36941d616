//! The future of a send.
//!
//! Returned by [`Logic::send`](crate::logic::Logic::send). Most sends are in the batch writer's
//! queue by the time the call returns and only wait for their answer: they need no task, no timer
//! and no allocation of their own. The others are boxed futures.
//!
//! Order: sends of one user are stored in the order in which they were started, so a send starts
//! when it is created and not when it is first polled.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::batch::Entered;
use crate::error::Refusal;
use crate::id::MessageId;
use crate::logic::Sent;
use crate::seq::Seq;
use crate::store::Appended;

type Answer = Result<Sent, Refusal>;

/// A send in progress. If it is dropped, a queued send is stored all the same, and one that still
/// waits for its user's order lock is cancelled.
#[must_use = "poll or await the send to get its answer"]
pub struct Sending {
    way: Way,
    /// Timer for the deadline, made when the future is awaited; a caller of
    /// [`poll_answer`](Self::poll_answer) brings its own timer.
    timer: Option<Pin<Box<Sleep>>>,
}

enum Way {
    /// Answered; `None` after the answer was taken.
    Done(Option<Answer>),
    /// In the batch writer's queue, with the deadline and the message's id.
    Entered(Entered, Instant, MessageId),
    /// Checks have to complete before the send can be queued.
    Asked(Pin<Box<dyn Future<Output = Answer> + Send>>),
}

impl Sending {
    /// Makes a send that is already answered.
    pub const fn done(answer: Answer) -> Self {
        Self::by(Way::Done(Some(answer)))
    }

    /// Makes a send that is in the batch writer's queue and stores one message; the seq of its
    /// first entry is the answer.
    pub(crate) const fn entered(entered: Entered, deadline: Instant, id: MessageId) -> Self {
        Self::by(Way::Entered(entered, deadline, id))
    }

    /// Makes a send from a future, and polls the future once right away: sends take their user's
    /// order lock in the order in which they were started, not in the order in which they are
    /// awaited.
    pub fn asked(work: impl Future<Output = Answer> + Send + 'static) -> Self {
        let mut work: Pin<Box<dyn Future<Output = Answer> + Send>> = Box::pin(work);
        // Unconstrained: a task whose tokio budget is used up would get `Pending` from the lock
        // without entering its wait queue, and a later send could overtake this one.
        let begun = unconstrained(work.as_mut());
        // The no-op waker is replaced when the caller polls the returned send for the first time.
        match pin!(begun).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Self::done(answer),
            Poll::Pending => Self::by(Way::Asked(work)),
        }
    }

    /// As [`asked`](Self::asked), but lazy: it starts when it is first polled. The caller holds
    /// several sends of one connection and polls them in their order.
    pub(crate) fn later(work: impl Future<Output = Answer> + Send + 'static) -> Self {
        Self::by(Way::Asked(Box::pin(work)))
    }

    const fn by(way: Way) -> Self {
        Self { way, timer: None }
    }

    /// Returns `true` if the send completes without being polled: it is queued or answered.
    #[must_use]
    pub const fn goes_by_itself(&self) -> bool {
        !matches!(self.way, Way::Asked(_))
    }

    /// Returns the time at which [`poll_answer`](Self::poll_answer) must be called even if the task
    /// is not woken.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        match &self.way {
            Way::Entered(_, deadline, _) => Some(*deadline),
            Way::Done(_) | Way::Asked(_) => None,
        }
    }

    /// Polls for the answer, which is returned once. It sets no timer: one timer of the caller
    /// serves many sends.
    pub fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        match &mut self.way {
            Way::Done(answer) => Poll::Ready(answer.take().unwrap_or(Err(Refusal::Internal))),
            Way::Entered(entered, deadline, id) => entered
                .poll_answer(cx, *deadline)
                .map(|appended| sent(appended?, *id)),
            Way::Asked(work) => work.as_mut().poll(cx),
        }
    }
}

/// Converts the outcome of an append whose first entry is the sender's own copy, or the only entry.
pub(crate) fn sent(appended: Appended, id: MessageId) -> Answer {
    match appended {
        Appended::Stored { seqs, .. } => Ok(Sent {
            seq: seqs.first().map_or(Seq::ZERO, |(_, seq)| *seq),
            message: id,
            repeated: false,
        }),
        Appended::Repeated { message, seq } => Ok(Sent {
            seq,
            message,
            repeated: true,
        }),
        Appended::Conflict => Err(Refusal::Conflict),
        Appended::Stale => Err(Refusal::Internal),
    }
}

impl Future for Sending {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
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

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match &self.way {
            Way::Done(answer) => return f.debug_tuple("Done").field(answer).finish(),
            Way::Entered(..) => "Entered",
            Way::Asked(_) => "Asked",
        };
        f.write_str(way)
    }
}
