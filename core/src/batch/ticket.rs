//! The ticket of a waiting send: either the lane starts it or its sender withdraws it, never both.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::oneshot;

use crate::error::Refusal;
use crate::store::Appended;

const WAITING: u8 = 0;
const STARTED: u8 = 1;
const WITHDRAWN: u8 = 2;

type Answer = Result<Appended, Refusal>;

/// The lane's half.
#[derive(Debug)]
pub(super) struct Ticket {
    state: Arc<AtomicU8>,
    answer: oneshot::Sender<Answer>,
}

/// The sender's half.
#[derive(Debug)]
pub(super) struct Stub {
    state: Arc<AtomicU8>,
    answer: oneshot::Receiver<Answer>,
}

fn decide(state: &AtomicU8, to: u8) -> bool {
    state
        .compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
}

impl Ticket {
    pub(super) fn new() -> (Self, Stub) {
        let state = Arc::new(AtomicU8::new(WAITING));
        let (answer, answered) = oneshot::channel();
        let ticket = Self {
            state: Arc::clone(&state),
            answer,
        };
        let stub = Stub {
            state,
            answer: answered,
        };
        (ticket, stub)
    }

    /// Puts the send into a batch; `false` if it was withdrawn and must not be stored.
    pub(super) fn start(&self) -> bool {
        decide(&self.state, STARTED)
    }

    /// Answers; a sender that no longer listens misses it.
    pub(super) fn answer(self, answer: Answer) {
        let _ = self.answer.send(answer);
    }
}

impl Stub {
    /// Waits for the answer. A lane that ended without one leaves the outcome unknown.
    pub(super) async fn answer(&mut self) -> Answer {
        (&mut self.answer).await.unwrap_or(Err(Refusal::Unknown))
    }

    /// The answer, if it is there.
    pub(super) fn answered(&mut self) -> Option<Answer> {
        self.answer.try_recv().ok()
    }

    /// Takes the send back; `false` if its batch has begun.
    pub(super) fn withdraw(&self) -> bool {
        decide(&self.state, WITHDRAWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_is_started_or_withdrawn_but_not_both() {
        let (ticket, stub) = Ticket::new();
        assert!(ticket.start());
        assert!(!stub.withdraw());
        let (ticket, stub) = Ticket::new();
        assert!(stub.withdraw());
        assert!(!ticket.start());
    }
}
