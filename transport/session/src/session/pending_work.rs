//! The pending work of a busy connection; an idle connection has none.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use gimlet_core::delivery::ConnectionDelivery;
use gimlet_core::error::RequestRefusal;
use gimlet_core::gateway::ClientConnection;
use gimlet_core::send_future::{SendFuture, SendReceipt};
use gimlet_core::seq::Seq;
use gimlet_core::trace::RequestTrace;
use tokio::time::Instant;

type BoxedFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Pending sends, pushes, and a read of the inbox.
#[derive(Default)]
pub(super) struct PendingWork {
    /// Unanswered sends, in the order of their packets.
    sends: VecDeque<PendingSend>,
    read: Option<BoxedFuture<Result<(), RequestRefusal>>>,
    pushes: VecDeque<ConnectionDelivery>,
}

/// An unanswered send.
struct PendingSend {
    /// Request id of its packet.
    id: i64,
    answer: SendFuture,
    trace: Option<Box<RequestTrace>>,
}

impl PendingWork {
    pub(super) fn is_empty(&self) -> bool {
        self.in_flight() == 0 && self.read.is_none() && self.pushes.is_empty()
    }

    /// Returns the number of unanswered sends.
    pub(super) fn in_flight(&self) -> usize {
        self.sends.len()
    }

    /// Starts a send; it is answered after the earlier ones.
    pub(super) fn send(&mut self, id: i64, send: impl FnOnce() -> SendFuture) {
        // Earlier sends that were held up and can continue now must be started before this one:
        // sends of a connection are stored in the order of its packets.
        self.drive(&mut Context::from_waker(Waker::noop()), 0);
        self.sends.push_back(PendingSend {
            id,
            answer: send(),
            trace: None,
        });
    }

    /// Traces the send that was started last until its answer.
    pub(super) fn trace_last(&mut self, trace: Option<Box<RequestTrace>>) {
        if let Some(send) = self.sends.back_mut() {
            send.trace = trace;
        }
    }

    /// Polls the sends that are not detached, beginning with the one at `from`.
    fn drive(&mut self, cx: &mut Context<'_>, from: usize) {
        for send in self.sends.iter_mut().skip(from) {
            if !send.answer.is_detached()
                && let Poll::Ready(answer) = send.answer.poll_answer(cx)
            {
                send.answer = SendFuture::done(answer);
            }
        }
    }

    /// Polls the sends; ready with the answer to the first, or with `None` if there are no sends.
    pub(super) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(i64, Result<SendReceipt, RequestRefusal>)>> {
        let Some(first) = self.sends.front_mut() else {
            return Poll::Ready(None);
        };
        match first.answer.poll_answer(cx) {
            Poll::Ready(answer) => {
                let id = first.id;
                if let Some(trace) = &first.trace {
                    trace.end_send(answer.as_ref().map(|sent| sent.message));
                }
                self.sends.pop_front();
                Poll::Ready(Some((id, answer)))
            }
            Poll::Pending => {
                self.drive(cx, 1);
                Poll::Pending
            }
        }
    }

    /// Polls the sends while there is no space for an answer.
    pub(super) fn poll_sends(&mut self, cx: &mut Context<'_>) {
        self.drive(cx, 0);
    }

    /// Returns the time at which the first send must be polled although nothing woke the task.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.sends.front().and_then(|send| send.answer.deadline())
    }

    pub(super) async fn next_answer(
        &mut self,
    ) -> Option<(i64, Result<SendReceipt, RequestRefusal>)> {
        std::future::poll_fn(|cx| self.poll_answer(cx)).await
    }

    /// Starts a read of the inbox or the room's history, unless one is running.
    pub(super) fn read(&mut self, connection: &Arc<ClientConnection>) {
        if self.read.is_none() {
            let connection = Arc::clone(connection);
            self.read = Some(Box::pin(async move { connection.read().await }));
        }
    }

    /// Polls the read; returns whether it is still running.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(read) = self.read.as_mut() else {
            return false;
        };
        match read.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(done) => {
                self.read = None;
                if let Err(error) = done {
                    tracing::debug!(%error, "inbox read failed, retrying");
                }
                false
            }
        }
    }

    /// Drops the read, which is started again later: while the session awaits something else,
    /// nothing would poll it, and it holds a read permit that others wait for.
    pub(super) fn give_up_read(&mut self) {
        self.read = None;
    }

    pub(super) fn push_all(&mut self, mut deliveries: VecDeque<ConnectionDelivery>) {
        self.pushes.append(&mut deliveries);
    }

    pub(super) fn next_push(&mut self) -> Option<ConnectionDelivery> {
        self.pushes.pop_front()
    }

    pub(super) fn has_pushes(&self) -> bool {
        !self.pushes.is_empty()
    }

    /// Drops the entries that the answer to a SYNC covered, up to this seq.
    pub(super) fn forget(&mut self, upto: Seq) {
        self.pushes
            .retain(|push| !matches!(push, ConnectionDelivery::Entry { seq, .. } if *seq <= upto));
    }

    /// Drops all pushes: the device belongs to another connection now.
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
    fn a_delayed_send_starts_before_later_ones() {
        let held = Arc::new(AtomicBool::new(true));
        let begun = Arc::new(Mutex::new(Vec::new()));
        let mut backlog = PendingWork::default();
        let (still, note) = (Arc::clone(&held), Arc::clone(&begun));
        backlog.send(1, || {
            SendFuture::started(std::future::poll_fn(move |_| {
                if still.load(Ordering::SeqCst) {
                    return Poll::Pending;
                }
                note.lock().unwrap().push(1);
                Poll::Ready(Err(RequestRefusal::Unavailable))
            }))
        });
        held.store(false, Ordering::SeqCst);
        backlog.send(2, || {
            begun.lock().unwrap().push(2);
            SendFuture::done(Err(RequestRefusal::Unavailable))
        });
        assert_eq!(*begun.lock().unwrap(), [1, 2]);
    }

    #[test]
    fn answers_come_in_the_order_of_the_packets() {
        let mut backlog = PendingWork::default();
        backlog.send(1, || SendFuture::started(std::future::pending()));
        backlog.send(2, || SendFuture::done(Err(RequestRefusal::Unavailable)));
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(backlog.poll_answer(cx).is_pending());
        assert_eq!(backlog.in_flight(), 2);
    }
}
