//! Completion of a waiting send: either the batch writer starts the send or its sender withdraws
//! it, never both.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::RequestRefusal;
use crate::store::AppendOutcome;

type AppendResult = Result<AppendOutcome, RequestRefusal>;

/// Progress of a send.
#[derive(Debug)]
enum SendStage {
    Waiting,
    Started,
    Withdrawn,
    /// The sender stopped waiting after the start. The send is not started a second time.
    Abandoned,
    /// The answer, until it is taken.
    Answered(AppendResult),
}

/// State shared by both halves; one allocation per send.
#[derive(Debug)]
struct CompletionSlot {
    stage: SendStage,
    waker: Option<Waker>,
}

impl CompletionSlot {
    /// Stores the answer, and returns the waker of the task that waits for it.
    fn settle(&mut self, answer: AppendResult) -> Option<Waker> {
        self.stage = SendStage::Answered(answer);
        self.waker.take()
    }

    fn leave(&mut self, to: SendStage) -> bool {
        let waiting = matches!(self.stage, SendStage::Waiting);
        if waiting {
            self.stage = to;
        }
        waiting
    }
}

// A poisoned lock is safe to use: a stage is written in one step.
fn lock(slot: &Mutex<CompletionSlot>) -> MutexGuard<'_, CompletionSlot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The batch writer's half. Dropping it without an answer reports an unknown outcome.
#[derive(Debug)]
pub(super) struct CompletionSender(Option<Arc<Mutex<CompletionSlot>>>);

/// The sender's half.
#[derive(Debug)]
pub(super) struct CompletionReceiver(Arc<Mutex<CompletionSlot>>);

impl CompletionSender {
    pub(super) fn new() -> (Self, CompletionReceiver) {
        let slot = Arc::new(Mutex::new(CompletionSlot {
            stage: SendStage::Waiting,
            waker: None,
        }));
        (Self(Some(Arc::clone(&slot))), CompletionReceiver(slot))
    }

    /// Marks the send as started; `false` if it was withdrawn and must not be stored.
    pub(super) fn start(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|slot| lock(slot).leave(SendStage::Started))
    }

    /// Puts a started send back because nothing of its batch was stored; `false` if its sender no
    /// longer waits and it must not be stored any more.
    pub(super) fn restart(&self) -> bool {
        let Some(slot) = self.0.as_ref() else {
            return false;
        };
        let mut slot = lock(slot);
        let started = matches!(slot.stage, SendStage::Started);
        if started {
            slot.stage = SendStage::Waiting;
        }
        started
    }

    /// Returns whether the send still waits to be started.
    pub(super) fn waits(&self) -> bool {
        let slot = self.0.as_ref();
        slot.is_some_and(|slot| matches!(lock(slot).stage, SendStage::Waiting))
    }

    /// Stores the answer, and returns the waker to call for it. If the sender has stopped waiting,
    /// the answer is dropped.
    pub(super) fn answer(mut self, answer: AppendResult) -> Option<Waker> {
        let slot = self.0.take()?;
        lock(&slot).settle(answer)
    }
}

impl Drop for CompletionSender {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            let waker = lock(&slot).settle(Err(RequestRefusal::Unknown));
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl CompletionReceiver {
    /// Polls for the answer, which is returned once; registers the task to be woken for it.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<AppendResult> {
        let mut slot = lock(&self.0);
        if let SendStage::Answered(answer) = &mut slot.stage {
            return Poll::Ready(std::mem::replace(answer, Err(RequestRefusal::Unknown)));
        }
        if !slot
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            slot.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Withdraws the send; `false` if its batch has begun.
    pub(super) fn withdraw(&self) -> bool {
        let mut slot = lock(&self.0);
        let withdrawn = slot.leave(SendStage::Withdrawn);
        if matches!(slot.stage, SendStage::Started) {
            slot.stage = SendStage::Abandoned;
        }
        withdrawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(receiver: &CompletionReceiver) -> Poll<AppendResult> {
        receiver.poll(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_send_is_started_or_withdrawn_but_not_both() {
        let (sender, receiver) = CompletionSender::new();
        assert!(sender.start());
        assert!(!receiver.withdraw());
        let (sender, receiver) = CompletionSender::new();
        assert!(receiver.withdraw());
        assert!(!sender.start());
    }

    #[test]
    fn a_started_send_is_put_back_unless_its_sender_gave_up() {
        let (sender, receiver) = CompletionSender::new();
        assert!(sender.start() && sender.restart() && sender.waits());
        assert!(receiver.withdraw(), "it waits again");
        let (sender, receiver) = CompletionSender::new();
        assert!(sender.start());
        assert!(!receiver.withdraw());
        assert!(!sender.restart());
    }

    #[test]
    fn a_dropped_sender_reports_an_unknown_outcome() {
        let (sender, receiver) = CompletionSender::new();
        assert!(sender.start());
        assert_eq!(poll(&receiver), Poll::Pending);
        drop(sender);
        assert_eq!(poll(&receiver), Poll::Ready(Err(RequestRefusal::Unknown)));
    }

    #[test]
    fn the_waiting_task_is_woken_with_the_answer() {
        let (sender, receiver) = CompletionSender::new();
        assert!(sender.start());
        assert_eq!(poll(&receiver), Poll::Pending);
        assert!(sender.answer(Ok(AppendOutcome::Stale)).is_some());
        assert_eq!(poll(&receiver), Poll::Ready(Ok(AppendOutcome::Stale)));
    }
}
