//! What a busy connection has under way; an idle one has none of it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use gimlet_core::envelope::Delivery;
use gimlet_core::error::Refusal;
use gimlet_core::gateway::Connection;
use gimlet_core::seq::Seq;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Answers, pushes and a read that are under way.
#[derive(Default)]
pub(super) struct Backlog {
    answers: Option<FuturesOrdered<Boxed<Bytes>>>,
    /// The next answer, if there was no room for it yet.
    answer: Option<Bytes>,
    read: Option<Boxed<Result<(), Refusal>>>,
    pushes: VecDeque<Delivery>,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.in_flight() == 0 && self.read.is_none() && self.pushes.is_empty()
    }

    /// Sends that have not been answered.
    pub(super) fn in_flight(&self) -> usize {
        self.answers.as_ref().map_or(0, FuturesOrdered::len) + usize::from(self.answer.is_some())
    }

    /// The answer is written when those before it are.
    pub(super) fn answer(&mut self, answer: impl Future<Output = Bytes> + Send + 'static) {
        self.answers
            .get_or_insert_default()
            .push_back(Box::pin(answer));
    }

    /// Drives the sends; ready when the next answer can be taken, or none is under way.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.answer.is_none()
            && let Some(answers) = self.answers.as_mut()
        {
            self.answer = std::task::ready!(answers.poll_next_unpin(cx));
            if answers.is_empty() {
                self.answers = None;
            }
        }
        Poll::Ready(())
    }

    pub(super) const fn take_answer(&mut self) -> Option<Bytes> {
        self.answer.take()
    }

    pub(super) async fn next_answer(&mut self) -> Option<Bytes> {
        std::future::poll_fn(|cx| self.poll_answer(cx)).await;
        self.take_answer()
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

    pub(super) fn push_all(&mut self, deliveries: Vec<Delivery>) {
        self.pushes.extend(deliveries);
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
