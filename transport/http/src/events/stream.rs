//! The body of an event stream: made when the socket takes it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use gimlet_core::delivery::ConnectionDelivery;
use gimlet_core::envelope::Envelope;
use gimlet_core::error::RequestRefusal;
use gimlet_core::gateway::{ClientConnection, SyncPage};
use gimlet_core::hub::{CloseReason, ConnectionWork};
use gimlet_core::id::RoomId;
use gimlet_core::message::MessageReceiver;
use gimlet_core::seq::Seq;
use gimlet_json::{entry_text, live_text, room_text};
use gimlet_proto::pb::CloseCode;
use http::{StatusCode, header};
use http_body::Frame;
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep, sleep_until};

use super::frame::{StreamEnd, StreamPosition, StreamStart};
use crate::api::{RestartTimeLimit, StreamPermit};
use crate::json::{JsonType, SchemaDefinitions, WholeNumber};
use crate::message::{EntryInfo, LiveMessageInfo, RoomMessageInfo, to_text};
use crate::operation::OperationAnswer;

/// Silence after which a comment is written: a client, and the proxies before it, see that the stream
/// lives. Shorter than the minute after which proxies usually close a silent connection.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// Bytes of events that are written together.
const FRAME_BYTES: usize = 16 * 1024;
/// Pause before an `EventSource` that was displaced by another one comes back. Two pages with one
/// token would otherwise displace each other without a pause.
const DISPLACED_RETRY: Duration = Duration::from_secs(30);
/// Pause before an `EventSource` reconnects after any other end.
const RETRY: Duration = Duration::from_secs(2);

/// A read of the inbox.
type InboxRead = Pin<Box<dyn Future<Output = Result<(), RequestRefusal>> + Send>>;

/// A stream of events, as the body of an answer.
pub(crate) struct EventStream(Box<StreamState>);

impl EventStream {
    /// Opens a stream that begins with this page; `room` is the last message of the room that the
    /// client has.
    pub(super) fn open(
        connection: &Arc<ClientConnection>,
        socket: (Option<StreamPermit>, Option<RestartTimeLimit>),
        page: &SyncPage,
        room: Option<Seq>,
    ) -> Self {
        let mut state = StreamState::new(Some(Arc::clone(connection)), socket);
        state.write_start(page, room);
        Self(Box::new(state))
    }

    /// Returns a stream that ends at once, because the device has a newer connection.
    pub(super) fn displaced() -> Self {
        let mut state = StreamState::new(None, (None, None));
        state.close(&CloseReason::Superseded);
        Self(Box::new(state))
    }
}

struct StreamState {
    /// `None` once the stream has ended: the connection then has left the hub.
    connection: Option<Arc<ClientConnection>>,
    read: Option<InboxRead>,
    deliveries: VecDeque<ConnectionDelivery>,
    /// Position after the last event that was written.
    position: StreamPosition,
    /// Events to be written next.
    text: String,
    ping_at: Instant,
    timer: Pin<Box<Sleep>>,
    restart_time_limit: Option<RestartTimeLimit>,
    /// Place among the clients' connections.
    _permit: Option<StreamPermit>,
}

impl StreamState {
    fn new(
        connection: Option<Arc<ClientConnection>>,
        (permit, restart_time_limit): (Option<StreamPermit>, Option<RestartTimeLimit>),
    ) -> Self {
        let ping_at = Instant::now() + PING_INTERVAL;
        Self {
            connection,
            read: None,
            deliveries: VecDeque::new(),
            position: StreamPosition {
                inbox: Seq::ZERO,
                room: None,
            },
            text: String::new(),
            ping_at,
            timer: Box::pin(sleep_until(ping_at)),
            restart_time_limit,
            _permit: permit,
        }
    }

    /// Writes the first event and the entries of the first page.
    fn write_start(&mut self, page: &SyncPage, room: Option<Seq>) {
        self.position = StreamPosition {
            inbox: page.from,
            room,
        };
        let Some(connection) = &self.connection else {
            return;
        };
        let identity = connection.identity();
        let start = StreamStart {
            user_id: identity.user,
            device_id: identity.device,
            after: page.from,
            head: page.head.head,
            floor: page.head.floor,
            epoch: WholeNumber(page.epoch.0),
        };
        let _ = writeln!(self.text, "retry: {}", RETRY.as_millis());
        self.event(Some("start"), true, &to_text(&start));
        for (seq, envelope) in &page.items {
            self.entry(*seq, envelope);
        }
    }

    /// Writes one event. Only an event with an id moves the position of a client.
    fn event(&mut self, name: Option<&str>, has_id: bool, data: &str) {
        if has_id {
            let _ = writeln!(self.text, "id: {}", self.position);
        }
        if let Some(name) = name {
            let _ = writeln!(self.text, "event: {name}");
        }
        // JSON has no line break outside a string, and inside one it is escaped.
        let _ = write!(self.text, "data: {data}\n\n");
    }

    fn entry(&mut self, seq: Seq, envelope: &Arc<Envelope>) {
        self.position.inbox = seq;
        self.event(None, true, &entry_text(seq, envelope));
    }

    fn room_message(&mut self, room: RoomId, seq: Seq, envelope: &Envelope) {
        self.position.room = Some(seq);
        self.event(Some("room"), true, &room_text(room, seq, envelope));
    }

    fn delivery(&mut self, delivery: &ConnectionDelivery) {
        match delivery {
            ConnectionDelivery::Entry { seq, envelope } => self.entry(*seq, envelope),
            ConnectionDelivery::Live { seq, envelope } => match envelope.message.receiver {
                MessageReceiver::Room(room) => self.room_message(room, *seq, envelope),
                MessageReceiver::User(_)
                | MessageReceiver::Group(_)
                | MessageReceiver::Everyone => {
                    self.event(Some("live"), false, &live_text(envelope));
                }
            },
            ConnectionDelivery::Room(batch) => {
                for item in batch.items() {
                    self.room_message(item.room, item.seq, &item.envelope);
                }
            }
        }
    }

    /// Writes the last event, and drops the connection: the device is free for the next one.
    fn close(&mut self, reason: &CloseReason) {
        let (code, text, reconnect, after) = close(reason);
        let code = i32::from(code);
        tracing::debug!(code, text, "event stream closed");
        let retry = match reason {
            CloseReason::Superseded => DISPLACED_RETRY,
            _ => after.unwrap_or(RETRY),
        };
        let _ = writeln!(self.text, "retry: {}", retry.as_millis());
        let end = StreamEnd {
            code,
            reason: text.to_owned(),
            reconnect,
            retry_after_ms: after.and_then(|it| i64::try_from(it.as_millis()).ok()),
        };
        self.event(Some("close"), false, &to_text(&end));
        self.connection = None;
        self.read = None;
        self.deliveries.clear();
    }

    fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<Option<String>> {
        loop {
            if !self.text.is_empty() {
                self.ping_at = Instant::now() + PING_INTERVAL;
                return Poll::Ready(Some(std::mem::take(&mut self.text)));
            }
            let Some(connection) = self.connection.clone() else {
                return Poll::Ready(None);
            };
            // A running read fills the hub's queue, so it is polled before the hub.
            if let Some(read) = self.read.as_mut()
                && read.as_mut().poll(cx).is_ready()
            {
                // A failed read is repeated when the hub asks for it again.
                self.read = None;
            }
            let now = Instant::now();
            if connection.poll_current(cx, now).is_pending() {
                // The process was paused, and the device may have signed in elsewhere meanwhile: only
                // the end is looked at until the lease is verified.
                if let Poll::Ready(reason) = connection.poll_close(cx) {
                    self.close(&reason);
                    continue;
                }
            } else {
                // Deliveries taken earlier are not written once another connection has the device.
                if connection.handle().is_superseded() {
                    self.deliveries.clear();
                }
                while self.text.len() < FRAME_BYTES
                    && let Some(delivery) = self.deliveries.pop_front()
                {
                    self.delivery(&delivery);
                }
                if !self.text.is_empty() {
                    continue;
                }
                // An idle stream keeps no empty queue.
                self.deliveries = VecDeque::new();
                match connection.poll_work(cx, now) {
                    Poll::Ready(ConnectionWork::Deliver(deliveries)) => {
                        self.deliveries = deliveries;
                        continue;
                    }
                    Poll::Ready(ConnectionWork::Read) => {
                        let connection = Arc::clone(&connection);
                        self.read = Some(Box::pin(async move { connection.read().await }));
                        continue;
                    }
                    Poll::Ready(ConnectionWork::Close(reason)) => {
                        self.close(&reason);
                        continue;
                    }
                    Poll::Pending => {}
                }
            }
            if now >= self.ping_at {
                // Compares the inbox with the cursor, as a heartbeat does: a lost push is found.
                // A refusal for the user's rate changes nothing; the next ping compares again.
                let _ = connection.heartbeat();
                self.text.push_str(": ping\n\n");
                continue;
            }
            let work = connection.next_deadline();
            let next = work.map_or(self.ping_at, |at| at.min(self.ping_at));
            if next < self.timer.deadline() || self.timer.is_elapsed() {
                self.timer.as_mut().reset(next);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// Returns the code, the reason, whether the client may reconnect by itself, and after which time.
fn close(reason: &CloseReason) -> (CloseCode, &str, bool, Option<Duration>) {
    match reason {
        CloseReason::Superseded => (
            CloseCode::Superseded,
            "this device has opened a newer connection",
            false,
            None,
        ),
        CloseReason::SignedOut => (CloseCode::TokenRevoked, "signed out", false, None),
        CloseReason::DeviceSwitched => (
            CloseCode::TokenRevoked,
            gimlet_core::hub::DEVICE_SWITCHED,
            false,
            None,
        ),
        CloseReason::Disconnected(text) => (CloseCode::Disconnected, text, false, None),
        CloseReason::Expired => (
            CloseCode::TokenExpired,
            "the token of this connection has expired; sign in again",
            false,
            None,
        ),
        CloseReason::Shutdown { after } => (
            CloseCode::ShuttingDown,
            "the server is shutting down",
            true,
            Some(*after),
        ),
    }
}

impl http_body::Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let state = &mut self.get_mut().0;
        let polled = state.poll_text(cx);
        if polled.is_ready()
            && let Some(RestartTimeLimit(restart)) = &state.restart_time_limit
        {
            restart();
        }
        polled.map(|text| text.map(|text| Ok(Frame::data(Bytes::from(text)))))
    }
}

impl OperationAnswer for EventStream {
    const STATUS: StatusCode = StatusCode::OK;
    const MEDIA_TYPE: Option<&'static str> = Some("text/event-stream");

    fn schema(definitions: &mut SchemaDefinitions) -> Value {
        let events: [fn(&mut SchemaDefinitions) -> Value; 5] = [
            <StreamStart as JsonType>::schema,
            <EntryInfo as JsonType>::schema,
            <LiveMessageInfo as JsonType>::schema,
            <RoomMessageInfo as JsonType>::schema,
            <StreamEnd as JsonType>::schema,
        ];
        for schema in events {
            schema(definitions);
        }
        json!({
            "type": "string",
            "description": "Events: `start` with StreamStart, then unnamed ones with EntryInfo, whose \
                id is the entry's seq, `live` with LiveMessageInfo, `room` with RoomMessageInfo, and \
                `close` with StreamEnd."
        })
    }

    fn respond(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE.as_str(), "text/event-stream"),
            (header::CACHE_CONTROL.as_str(), "no-store"),
            // nginx would otherwise collect events.
            ("x-accel-buffering", "no"),
        ];
        (Self::STATUS, headers, Body::new(self)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shutdown_asks_the_client_back() {
        let after = Duration::from_secs(3);
        let comes_back = |reason: &CloseReason| close(reason).2;
        assert!(comes_back(&CloseReason::Shutdown { after }));
        for reason in [
            CloseReason::Superseded,
            CloseReason::SignedOut,
            CloseReason::DeviceSwitched,
            CloseReason::Disconnected("banned".into()),
            CloseReason::Expired,
        ] {
            assert!(!comes_back(&reason), "{reason:?}");
        }
    }
}
