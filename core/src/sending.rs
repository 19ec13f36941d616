//! A send that was asked for, until it is answered.
//!
//! Serves whoever calls [`Logic::send`](crate::logic::Logic::send). Most sends are in the lane by
//! the time the call returns, and what is left is to wait: no task, no timer and no allocation of
//! their own. The others are futures like any other.

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

/// A send under way. Dropped, one that is in the lane is stored all the same, and one that still waits
/// for its turn is given up.
#[must_use = "a send that nobody waits for is not answered"]
pub struct Sending {
    way: Way,
    /// Set when it is awaited; whoever polls it by [`poll_answer`](Self::poll_answer) has a timer.
    timer: Option<Pin<Box<Sleep>>>,
}

enum Way {
    /// Answered; `None` once the answer was taken.
    Done(Option<Answer>),
    /// In the lane until the deadline, a message of this id.
    Entered(Entered, Instant, MessageId),
    /// Anything else has to happen first.
    Asked(Pin<Box<dyn Future<Output = Answer> + Send>>),
}

impl Sending {
    /// It was answered at once.
    pub const fn done(answer: Answer) -> Self {
        Self::by(Way::Done(Some(answer)))
    }

    /// It is in the lane, and stores one message whose first entry's seq is the answer.
    pub(crate) const fn entered(entered: Entered, deadline: Instant, id: MessageId) -> Self {
        Self::by(Way::Entered(entered, deadline, id))
    }

    /// Something has to be asked for it. That is begun here, not when it is first waited for: sends
    /// take their turn in the order in which they were asked for.
    pub fn asked(work: impl Future<Output = Answer> + Send + 'static) -> Self {
        let mut work: Pin<Box<dyn Future<Output = Answer> + Send>> = Box::pin(work);
        // A task that has used up its budget would not be let into the queue for its turn.
        let begun = unconstrained(work.as_mut());
        match pin!(begun).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Self::done(answer),
            Poll::Pending => Self::by(Way::Asked(work)),
        }
    }

    /// As [`asked`](Self::asked), but nothing is begun before it is polled: whoever has several of
    /// one connection polls them in their order.
    pub(crate) fn later(work: impl Future<Output = Answer> + Send + 'static) -> Self {
        Self::by(Way::Asked(Box::pin(work)))
    }

    const fn by(way: Way) -> Self {
        Self { way, timer: None }
    }

    /// Whether it comes about without being polled: it is in the lane or answered.
    #[must_use]
    pub const fn goes_by_itself(&self) -> bool {
        !matches!(self.way, Way::Asked(_))
    }

    /// When [`poll_answer`](Self::poll_answer) is to be called although nothing wakes the task.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        match &self.way {
            Way::Entered(_, deadline, _) => Some(*deadline),
            Way::Done(_) | Way::Asked(_) => None,
        }
    }

    /// Ready with the answer, once. Has no timer: one that serves many sends is enough.
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

/// The answer to a message whose first entry is the sender's own, or its only one.
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
