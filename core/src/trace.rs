//! Traces the path of a message: spans with the ids that the steps of the path share.
//!
//! | span | one for | fields |
//! |---|---|---|
//! | `connection` | a client connection | `peer`, `conn`, `user`, `device` |
//! | `request` | a request, from its packet to its answer; inside its connection | `kind`, `req`, `message`, `code` |
//! | `store` | a call of a store on the path | `call`, `user` or `messages` |
//! | `deliver` | the delivery of stored messages to the connections of a node | `messages` |
//! | `push` | a message written to a recipient; inside the recipient's connection | `message`, `seq` |
//!
//! All have the target [`TARGET`] and the level DEBUG, and each, except `connection`, ends with one
//! event, so that a log of events shows the path. The id of the message connects the spans of
//! different tasks and nodes.
//!
//! Without a subscriber for that target and level, a step costs the comparison of two numbers. With
//! one, the spans of a message exist if its sender is sampled ([`set_sample`]). The choice follows
//! from the sender's id alone, so all steps of a message agree, on every node, and nothing has to
//! travel with the message.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;
use tracing::field::{Empty, display};
use tracing::{Instrument as _, Level, Span};

use crate::delivery::DeliveryBatch;
use crate::error::RequestRefusal;
use crate::id::{MessageId, UserId};
use crate::message::Message;
use crate::seq::Seq;
use crate::store::AppendRequest;

/// Target of the spans and events, for the filters of a subscriber.
pub const TARGET: &str = "gimlet::trace";

/// One in this many users is sampled; 0 samples none.
static SAMPLE: AtomicU64 = AtomicU64::new(1);

/// Sets the sampling for the whole process: the users whose id is a multiple of `one_in`; 1 samples
/// all of them, which is the default, and 0 none. Messages that no user sent are sampled by their
/// own id.
pub fn set_sample(one_in: u64) {
    SAMPLE.store(one_in, Ordering::Relaxed);
}

#[inline]
fn is_enabled() -> bool {
    tracing::enabled!(target: TARGET, Level::DEBUG)
}

fn is_sampled(id: u64) -> bool {
    id.checked_rem(SAMPLE.load(Ordering::Relaxed)) == Some(0)
}

/// Returns the number by which a message is sampled.
fn sampled_id(message: &Message) -> u64 {
    let random = || {
        // The last bytes of the id are random; the first ones are the time.
        let [.., a, b, c, d] = *message.id.as_bytes();
        u32::from_be_bytes([a, b, c, d]).into()
    };
    message.sender.user().map_or_else(random, UserId::get)
}

/// Returns whether the requests of this user are traced.
#[inline]
fn traces_user(user: UserId) -> bool {
    is_enabled() && is_sampled(user.get())
}

/// Returns whether this message is traced.
#[inline]
fn traces(message: &Message) -> bool {
    is_enabled() && is_sampled(sampled_id(message))
}

/// Returns the ids of those messages that are traced; empty without a subscriber.
fn traced<'a>(messages: impl Iterator<Item = &'a Message>) -> Vec<MessageId> {
    if !is_enabled() {
        return Vec::new();
    }
    let sampled = messages.filter(|message| is_sampled(sampled_id(message)));
    sampled.map(|message| message.id).collect()
}

/// Returns the time since `began` in microseconds.
fn micros(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Trace of one request.
#[derive(Debug)]
pub struct RequestTrace {
    span: Span,
    began: Instant,
}

impl RequestTrace {
    /// Begins the trace of a request of this user, inside the current span; `None` if it is not
    /// traced. `kind` is the number of its packet's type, `req` its request id.
    #[must_use]
    #[inline]
    pub fn begin(user: UserId, kind: i32, req: i64) -> Option<Box<Self>> {
        traces_user(user).then(|| Box::new(Self::new(kind, req)))
    }

    fn new(kind: i32, req: i64) -> Self {
        let span = tracing::debug_span!(
            target: TARGET,
            "request",
            kind,
            req,
            message = Empty,
            code = Empty
        );
        let began = Instant::now();
        Self { span, began }
    }

    /// Runs a request that needs no wait inside its span.
    pub fn run<T>(trace: Option<Box<Self>>, work: impl FnOnce() -> T) -> T {
        let Some(trace) = trace else { return work() };
        let done = trace.span.in_scope(work);
        trace.end();
        done
    }

    /// Runs a request that needs a wait inside its span.
    pub async fn follow<T>(self: Box<Self>, work: impl Future<Output = T> + Send) -> T {
        let done = work.instrument(self.span.clone()).await;
        self.end();
        done
    }

    /// Ends the trace of a send with the id of its message, or its refusal.
    pub fn end_send(&self, answer: Result<MessageId, &RequestRefusal>) {
        match answer {
            Ok(message) => _ = self.span.record("message", display(message)),
            Err(refusal) => _ = self.span.record("code", refusal.code()),
        }
        self.end();
    }

    fn end(&self) {
        let micros = micros(self.began);
        tracing::debug!(target: TARGET, parent: &self.span, micros, "request answered");
    }
}

/// Notes the code of a refusal in the current request's span.
#[inline]
pub fn note_code(refusal: &RequestRefusal) {
    if is_enabled() {
        // A span without this field, for example the connection's, ignores it.
        Span::current().record("code", refusal.code());
    }
}

/// Returns the span of an append; disabled if none of its messages is traced.
#[must_use]
pub fn append_span(appends: &[AppendRequest]) -> Span {
    let messages = traced(appends.iter().map(|append| &*append.message));
    if messages.is_empty() {
        return Span::none();
    }
    let sends = appends.len();
    tracing::debug_span!(
        target: TARGET,
        "store",
        call = "inbox.append",
        sends,
        ?messages
    )
}

/// Returns the span of a store call for one user; disabled if the user is not traced.
#[must_use]
pub fn user_span(call: &'static str, user: UserId) -> Span {
    if !traces_user(user) {
        return Span::none();
    }
    tracing::debug_span!(target: TARGET, "store", call, %user)
}

/// Returns the span of a store call for one message; disabled if the message is not traced.
#[must_use]
pub fn message_span(call: &'static str, message: &Message) -> Span {
    if !traces(message) {
        return Span::none();
    }
    tracing::debug_span!(target: TARGET, "store", call, messages = ?[message.id])
}

/// Runs a store call inside its span.
pub async fn store_call<T, E>(
    span: Span,
    call: impl Future<Output = Result<T, E>> + Send,
) -> Result<T, E> {
    let began = (!span.is_disabled()).then(Instant::now);
    let done = call.instrument(span.clone()).await;
    if let Some(began) = began {
        let (ok, micros) = (done.is_ok(), micros(began));
        tracing::debug!(target: TARGET, parent: &span, ok, micros, "store answered");
    }
    done
}

/// Delivers messages to the connections of this node inside a span, if one of them is traced.
pub fn deliver<T>(batches: &[DeliveryBatch], deliver: impl FnOnce() -> T) -> T {
    let messages = traced(batches.iter().map(DeliveryBatch::message));
    if messages.is_empty() {
        return deliver();
    }
    let span = tracing::debug_span!(target: TARGET, "deliver", ?messages);
    let delivered = span.in_scope(deliver);
    tracing::debug!(target: TARGET, parent: &span, "messages handed to connections");
    delivered
}

/// Runs the write of a message to the current connection inside a span, if the message is traced.
pub fn push<T>(message: &Message, seq: Seq, write: impl FnOnce() -> T) -> T {
    if !traces(message) {
        return write();
    }
    let span = tracing::debug_span!(
        target: TARGET,
        "push",
        message = %message.id,
        seq = seq.get()
    );
    let written = span.in_scope(write);
    tracing::debug!(target: TARGET, parent: &span, "message pushed");
    written
}

/// Notes the messages that a write to the current connection holds, each in a span of its own.
pub fn note_pushes<'a>(pushes: impl Iterator<Item = (&'a Message, Seq)>) {
    if is_enabled() {
        pushes.for_each(|(message, seq)| push(message, seq, || ()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_sampled_by_their_id() {
        let sampled = |one_in| {
            set_sample(one_in);
            let ids = (1..=10).filter(|id| is_sampled(*id)).collect::<Vec<_>>();
            set_sample(1);
            ids
        };
        assert_eq!(sampled(0), [0; 0]);
        assert_eq!(sampled(1).len(), 10);
        assert_eq!(sampled(4), [4, 8]);
    }

    #[test]
    fn without_a_subscriber_nothing_is_traced() {
        assert!(!is_enabled());
        assert!(RequestTrace::begin(UserId::new(1).unwrap(), 1, 1).is_none());
    }
}
