//! Receives what is published in the rooms to which this node has subscribed.
//!
//! One connection receives for all rooms. If it breaks or falls silent, it is rebuilt: every room
//! is subscribed again, and every sink is notified that it may have missed messages. A gap in a
//! room's seqs is reported to the sinks in the same way.
//!
//! The order of the steps, which must not change:
//!
//! - `connect` subscribes to every room in the map before the connection is stored, and the lock of
//!   the connection is held meanwhile. So `subscribe` never returns before its room is subscribed.
//! - The sinks are notified after all rooms are subscribed again. If they were notified before,
//!   they would read the history, and messages published between that and the subscription would be
//!   lost.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use gimlet_core::id::RoomId;
use gimlet_core::seq::Seq;
use gimlet_core::store::{RoomItem, RoomSink, StreamId};
use redis::{PushInfo, PushKind, Value};
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::connection::{FeedConnector, PushReceiver};
use super::keys::RedisKeys;
use crate::error::EngineError;
use crate::record;

/// Interval between pings.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// First and longest delay before the next attempt to connect.
const RECONNECT_DELAYS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Subscriptions sent concurrently.
const SUBSCRIBE_CONCURRENCY: usize = 256;

/// The node's subscriptions. Cheap to clone.
#[derive(Clone)]
pub(super) struct RoomFeed {
    inner: Arc<FeedInner>,
}

struct FeedInner {
    keys: RedisKeys,
    deadline: Duration,
    // A std mutex: items are delivered under it, and sinks must not block.
    rooms: Mutex<HashMap<RoomId, RoomSubscription>>,
    /// Connection; its lock is held while it is being made and while subscriptions change on it.
    connection: Arc<tokio::sync::Mutex<Option<FeedConnection>>>,
}

/// The connection, with the notice that it has broken. Each connection has a notice of its own: a
/// late one about the connection before must not break this one, which would interrupt all rooms
/// again.
#[derive(Clone)]
struct FeedConnection {
    receiver: PushReceiver,
    broken: Arc<Notify>,
}

#[derive(Debug, Default)]
struct RoomSubscription {
    sinks: Vec<Arc<dyn RoomSink>>,
    last: Option<(StreamId, Seq)>,
}

impl fmt::Debug for RoomFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomFeed")
            .field("rooms", &self.inner.lock().len())
            .finish_non_exhaustive()
    }
}

/// A room's first sink while its subscription is being made. If that fails, or the caller gives up,
/// the sink is removed: later sinks of the room would otherwise rely on it.
struct PendingSink<'a> {
    inner: &'a FeedInner,
    room: RoomId,
    sink: &'a Arc<dyn RoomSink>,
    done: bool,
}

impl Drop for PendingSink<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.inner.remove(self.room, self.sink);
        }
    }
}

impl RoomFeed {
    pub(super) fn new(keys: RedisKeys, deadline: Duration) -> Self {
        Self {
            inner: Arc::new(FeedInner {
                keys,
                deadline,
                rooms: Mutex::default(),
                connection: Arc::default(),
            }),
        }
    }

    /// Adds a sink; returns when everything published from now on will reach it.
    pub(super) async fn subscribe(
        &self,
        room: RoomId,
        sink: &Arc<dyn RoomSink>,
    ) -> Result<(), EngineError> {
        let inner = &self.inner;
        let connection = timeout(inner.deadline, inner.connection.lock());
        let connection = connection.await.map_err(|_| EngineError::Down)?;
        // The sink is added under the connection's lock. If it is not the room's first one, the
        // subscription is complete already, because it was made under the same lock.
        if !inner.add(room, sink) {
            return Ok(());
        }
        // Declared after the lock, so that it is dropped first: no one may find the sink while the
        // room is not subscribed.
        let mut pending = PendingSink {
            inner,
            room,
            sink,
            done: false,
        };
        // Without a connection nothing has to be reported: it is being rebuilt.
        let Some(FeedConnection { receiver, broken }) = connection.as_ref() else {
            return Err(EngineError::Down);
        };
        let channel = inner.keys.channel(room);
        let done = timeout(inner.deadline, receiver.subscribe(&channel)).await;
        let done = done.map_or(Err(EngineError::Down), |done| {
            done.map_err(EngineError::from)
        });
        pending.done = done.is_ok();
        if done.is_err() {
            broken.notify_one();
        }
        done
    }

    /// Removes a sink; nothing is delivered to it after this returns.
    pub(super) async fn unsubscribe(&self, room: RoomId, sink: &Arc<dyn RoomSink>) {
        let inner = &self.inner;
        if !inner.remove(room, sink) {
            return;
        }
        let Ok(connection) = timeout(inner.deadline, inner.connection.lock()).await else {
            // The connection is being rebuilt, with the remaining rooms only.
            return;
        };
        // Checked again under the connection's lock: another sink may have subscribed to the room
        // meanwhile.
        if inner.lock().contains_key(&room) {
            return;
        }
        if let Some(FeedConnection { receiver, broken }) = connection.as_ref() {
            let channel = inner.keys.channel(room);
            let done = timeout(inner.deadline, receiver.unsubscribe(&channel)).await;
            if !matches!(done, Ok(Ok(()))) {
                broken.notify_one();
            }
        }
    }

    /// Returns a task that maintains the connection until `stop`. The connection's lock is taken
    /// here already, so that a `subscribe` waits for the first connection instead of finding none.
    pub(super) fn hear(
        &self,
        listener: FeedConnector,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<> {
        let inner = Arc::clone(&self.inner);
        let first = Arc::clone(&inner.connection).try_lock_owned().ok();
        async move {
            stop.run_until_cancelled(inner.keep(listener, first)).await;
        }
    }
}

impl FeedInner {
    fn lock(&self) -> MutexGuard<'_, HashMap<RoomId, RoomSubscription>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a sink; returns whether it is the room's first.
    fn add(&self, room: RoomId, sink: &Arc<dyn RoomSink>) -> bool {
        let mut rooms = self.lock();
        let sinks = &mut rooms.entry(room).or_default().sinks;
        if !sinks.iter().any(|known| same(known, sink)) {
            sinks.push(Arc::clone(sink));
            return sinks.len() == 1;
        }
        false
    }

    /// Removes a sink; returns whether it was the room's last.
    fn remove(&self, room: RoomId, sink: &Arc<dyn RoomSink>) -> bool {
        let mut rooms = self.lock();
        let Some(subscribed) = rooms.get_mut(&room) else {
            return false;
        };
        subscribed.sinks.retain(|known| !same(known, sink));
        let empty = subscribed.sinks.is_empty();
        if empty {
            rooms.remove(&room);
        }
        empty
    }

    async fn keep(
        self: Arc<Self>,
        listener: FeedConnector,
        mut held: Option<OwnedMutexGuard<Option<FeedConnection>>>,
    ) {
        let (mut wait, mut first) = (RECONNECT_DELAYS.0, true);
        loop {
            let mut slot = match held.take() {
                Some(slot) => slot,
                None => Arc::clone(&self.connection).lock_owned().await,
            };
            *slot = None;
            let connected = timeout(self.deadline * 4, self.connect(&listener)).await;
            let Ok(Ok(connection)) = connected else {
                tracing::debug!("room feed not connected, retrying");
                // Callers of `subscribe` meanwhile wait for the lock, but only until their own
                // deadline.
                sleep(wait).await;
                wait = (wait * 2).min(RECONNECT_DELAYS.1);
                held = Some(slot);
                continue;
            };
            *slot = Some(connection.clone());
            drop(slot);
            if !first {
                self.interrupt_all();
            }
            (wait, first) = (RECONNECT_DELAYS.0, false);
            self.until_broken(&connection).await;
            gimlet_core::warn_rated!("room feed broke, reconnecting");
        }
    }

    /// Connects and subscribes to every room.
    async fn connect(
        self: &Arc<Self>,
        listener: &FeedConnector,
    ) -> Result<FeedConnection, EngineError> {
        let (weak, broken) = (Arc::downgrade(self), Arc::new(Notify::new()));
        let notice = Arc::clone(&broken);
        let hear = move |push: PushInfo| {
            if let Some(inner) = weak.upgrade() {
                inner.hear(&push, &notice);
            }
            Ok(())
        };
        let receiver = listener.connect(hear).await?;
        let rooms: Vec<RoomId> = self.lock().keys().copied().collect();
        for some in rooms.chunks(SUBSCRIBE_CONCURRENCY) {
            let channels = some.iter().map(|room| self.keys.channel(*room));
            let subscribing = channels.map(|channel| {
                let receiver = receiver.clone();
                async move { receiver.subscribe(&channel).await }
            });
            try_join_all(subscribing).await?;
        }
        Ok(FeedConnection { receiver, broken })
    }

    async fn until_broken(&self, FeedConnection { receiver, broken }: &FeedConnection) {
        loop {
            tokio::select! {
                () = broken.notified() => return,
                () = sleep(PING_INTERVAL) => {}
            }
            if !matches!(
                timeout(self.deadline * 2, receiver.ping()).await,
                Ok(Ok(()))
            ) {
                return;
            }
        }
    }

    fn interrupt_all(&self) {
        let rooms = self.lock();
        for (room, subscribed) in rooms.iter() {
            for sink in &subscribed.sinks {
                sink.interrupted(*room);
            }
        }
    }

    /// Processes a push; `broken` is the notice of its connection.
    fn hear(&self, push: &PushInfo, broken: &Notify) {
        match (&push.kind, push.data.as_slice()) {
            (PushKind::SMessage, [Value::BulkString(channel), Value::BulkString(payload)]) => {
                if let Some(room) = self.keys.room_of(channel) {
                    self.deliver(room, payload);
                }
            }
            (PushKind::Disconnection, _) => broken.notify_one(),
            // The slot has moved to another node of the cluster.
            (PushKind::SUnsubscribe, [Value::BulkString(channel), ..]) => {
                let room = self.keys.room_of(channel);
                if room.is_some_and(|room| self.lock().contains_key(&room)) {
                    broken.notify_one();
                }
            }
            _ => {}
        }
    }

    fn deliver(&self, room: RoomId, payload: &[u8]) {
        let Some((stream, seq, message)) = parse(payload) else {
            gimlet_core::warn_rated!(%room, "unreadable payload published in a room, skipped");
            return;
        };
        let mut rooms = self.lock();
        let Some(subscribed) = rooms.get_mut(&room) else {
            return;
        };
        let missed = match subscribed.last {
            Some((last, before)) if last == stream => seq > before.next(),
            Some(_) => seq > Seq::ZERO.next(),
            None => false,
        };
        subscribed.last = Some((stream, seq));
        // Reported before the item is delivered: in the other order, the sinks would serve the item
        // before the missed ones.
        if missed {
            subscribed.sinks.iter().for_each(|it| it.interrupted(room));
        }
        let envelope = match record::decode_envelope(message) {
            Ok(envelope) => Arc::new(envelope),
            Err(error) => {
                gimlet_core::warn_rated!(%room, %error, "unreadable room message skipped");
                return;
            }
        };
        let item = Arc::new(RoomItem {
            room,
            stream,
            seq,
            envelope,
        });
        subscribed.sinks.iter().for_each(|it| it.deliver(&item));
    }
}

/// Splits the payload that the publish script builds: stream, seq, message.
fn parse(payload: &[u8]) -> Option<(StreamId, Seq, &[u8])> {
    let mut parts = payload.splitn(3, |byte| *byte == b':');
    let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse().ok();
    let (stream, seq) = (StreamId(number()?), Seq::new(number()?));
    Some((stream, seq, parts.next()?))
}

/// Returns whether two handles refer to the same sink.
fn same(a: &Arc<dyn RoomSink>, b: &Arc<dyn RoomSink>) -> bool {
    // Compares the data pointers alone: one type's vtable may have several addresses.
    std::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// Regression: one notice served all connections. A late one about the connection before
    /// rebuilt the new one, and interrupted all rooms a second time.
    #[test]
    fn a_late_notice_concerns_its_own_connection() {
        let feed = RoomFeed::new(RedisKeys::new("gimlet:"), Duration::from_secs(1));
        let (before, now) = (Notify::new(), Notify::new());
        let lost = PushInfo {
            kind: PushKind::Disconnection,
            data: Vec::new(),
        };
        feed.inner.hear(&lost, &before);
        assert!(now.notified().now_or_never().is_none());
        assert!(before.notified().now_or_never().is_some());
    }

    #[test]
    fn a_payload_has_three_parts() {
        let parsed = parse(b"18446744073709551615:7:a:b").unwrap();
        assert_eq!(parsed, (StreamId(u64::MAX), Seq::new(7), b"a:b".as_slice()));
        assert_eq!(parse(b"1:2:").unwrap().2, b"");
        for bad in [b"".as_slice(), b"1", b"1:2", b"x:2:m", b"1:-2:m"] {
            assert_eq!(parse(bad), None);
        }
    }
}
