//! What a busy connection has under way; an idle one has none of it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use gimlet_core::envelope::Delivery;
use gimlet_core::error::Refusal;
use gimlet_core::gateway::Connection;
use gimlet_core::logic::Sent;
use gimlet_core::sending::Sending;
use gimlet_core::seq::Seq;
use tokio::time::Instant;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Sends, pushes and a read that are under way.
#[derive(Default)]
pub(super) struct Backlog {
    /// The sends that were not answered, with their packets' ids.
    sends: VecDeque<(i64, Sending)>,
    read: Option<Boxed<Result<(), Refusal>>>,
    pushes: VecDeque<Delivery>,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.in_flight() == 0 && self.read.is_none() && self.pushes.is_empty()
    }

    /// Sends that have not been answered.
    pub(super) fn in_flight(&self) -> usize {
        self.sends.len()
    }

    /// Begins a send; it is answered when those before it are.
    pub(super) fn send(&mut self, id: i64, send: impl FnOnce() -> Sending) {
        // Those before it go first, if they were held up and are not any more.
        self.drive(&mut Context::from_waker(Waker::noop()), 0);
        self.sends.push_back((id, send()));
    }

    /// Polls the sends that do not go on by themselves, from this one on.
    fn drive(&mut self, cx: &mut Context<'_>, from: usize) {
        for (_, sending) in self.sends.iter_mut().skip(from) {
            if !sending.goes_by_itself()
                && let Poll::Ready(answer) = sending.poll_answer(cx)
            {
                *sending = Sending::done(answer);
            }
        }
    }

    /// Drives the sends; ready with the answer of the first, or with `None` if there is none.
    pub(super) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(i64, Result<Sent, Refusal>)>> {
        let Some((id, first)) = self.sends.front_mut() else {
            return Poll::Ready(None);
        };
        match first.poll_answer(cx) {
            Poll::Ready(answer) => {
                let id = *id;
                self.sends.pop_front();
                Poll::Ready(Some((id, answer)))
            }
            Poll::Pending => {
                self.drive(cx, 1);
                Poll::Pending
            }
        }
    }

    /// Drives the sends while there is no room for an answer.
    pub(super) fn poll_sends(&mut self, cx: &mut Context<'_>) {
        self.drive(cx, 0);
    }

    /// When the first send is to be looked at although nothing woke the task.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.sends
            .front()
            .and_then(|(_, sending)| sending.deadline())
    }

    pub(super) async fn next_answer(&mut self) -> Option<(i64, Result<Sent, Refusal>)> {
        std::future::poll_fn(|cx| self.poll_answer(cx)).await
    }

    /// Starts to read on from the inbox or the room's history, unless that is under way.
    pub(super) fn read(&mut self, connection: &Arc<Connection>) {
        if self.read.is_none() {
            let connection = Arc::clone(connection);
            self.read = Some(Box::pin(async move { connection.read().await }));
        }
    }

    /// Drives the read; returns whether one is still under way.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(read) = self.read.as_mut() else {
            return false;
        };
        match read.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(done) => {
                self.read = None;
                if let Err(error) = done {
                    tracing::debug!(%error, "the inbox could not be read; it is tried again");
                }
                false
            }
        }
    }

    /// Gives the read up: while something else is waited for nobody would drive it, and it holds a
    /// turn that others wait for. It is begun again later.
    pub(super) fn give_up_read(&mut self) {
        self.read = None;
    }

    pub(super) fn push_all(&mut self, mut deliveries: VecDeque<Delivery>) {
        self.pushes.append(&mut deliveries);
    }

    pub(super) fn next_push(&mut self) -> Option<Delivery> {
        self.pushes.pop_front()
    }

    pub(super) fn has_pushes(&self) -> bool {
        !self.pushes.is_empty()
    }

    /// A SYNC reply has covered the entries up to here.
    pub(super) fn forget(&mut self, upto: Seq) {
        self.pushes
            .retain(|push| !matches!(push, Delivery::Entry { seq, .. } if *seq <= upto));
    }

    /// The device belongs to another connection now.
    pub(super) fn drop_pushes(&mut self) {
        self.pushes.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_send_that_was_held_up_goes_before_those_asked_for_later() {
        let held = Arc::new(AtomicBool::new(true));
        let begun = Arc::new(Mutex::new(Vec::new()));
        let mut backlog = Backlog::default();
        let (still, note) = (Arc::clone(&held), Arc::clone(&begun));
        backlog.send(1, || {
            Sending::asked(std::future::poll_fn(move |_| {
                if still.load(Ordering::SeqCst) {
                    return Poll::Pending;
                }
                note.lock().unwrap().push(1);
                Poll::Ready(Err(Refusal::Unavailable))
            }))
        });
        held.store(false, Ordering::SeqCst);
        backlog.send(2, || {
            begun.lock().unwrap().push(2);
            Sending::done(Err(Refusal::Unavailable))
        });
        assert_eq!(*begun.lock().unwrap(), [1, 2]);
    }

    #[test]
    fn answers_come_in_the_order_of_the_packets() {
        let mut backlog = Backlog::default();
        backlog.send(1, || Sending::asked(std::future::pending()));
        backlog.send(2, || Sending::done(Err(Refusal::Unavailable)));
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(backlog.poll_answer(cx).is_pending());
        assert_eq!(backlog.in_flight(), 2);
    }
}
