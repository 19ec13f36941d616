//! Rooms and their brief history.
//!
//! One script in the room's slot assigns a message its seq, keeps it and publishes it. So every
//! node receives a room's messages in seq order, and nodes without a subscriber receive nothing.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use gimlet_core::envelope::Envelope;
use gimlet_core::id::RoomId;
use gimlet_core::memory::RoomBounds;
use gimlet_core::page::PageLimit;
use gimlet_core::seq::Seq;
use gimlet_core::store::{RoomHistory, RoomItem, RoomSink, RoomStore, StoreError, StreamId};
use redis::Script;

use super::background::BackgroundTasks;
use super::budget::KeepBudget;
use super::connection::RedisConnection;
use super::feed::RoomFeed;
use super::keys::RedisKeys;
use crate::error::EngineError;
use crate::record;

/// Time for which an unused room keeps its numbering.
const NUMBERING_EXPIRY: Duration = Duration::from_hours(24);

static PUBLISH_SCRIPT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        include_str!("lua/trim.lua"),
        include_str!("lua/publish.lua")
    ))
});
static HISTORY_SCRIPT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        include_str!("lua/trim.lua"),
        include_str!("lua/history.lua")
    ))
});

/// The room store.
#[derive(Debug)]
pub(super) struct RedisRooms {
    pub(super) wire: RedisConnection,
    /// Separate connection: pages are large, and publishing must neither wait behind them nor pause
    /// because one of them was slow.
    pub(super) history: RedisConnection,
    pub(super) keys: RedisKeys,
    pub(super) bounds: RoomBounds,
    pub(super) budget: KeepBudget,
    pub(super) feed: RoomFeed,
    pub(super) _background: BackgroundTasks,
}

const MALFORMED_NUMBERS: EngineError =
    EngineError::Corrupt("redis returned malformed numbers of a room");

impl RedisRooms {
    async fn publish(
        &self,
        room: RoomId,
        envelope: Arc<Envelope>,
        keep: bool,
    ) -> Result<Arc<RoomItem>, EngineError> {
        let keep = keep && self.budget.take(envelope.weight());
        let mut call = PUBLISH_SCRIPT.prepare_invoke();
        call.key(self.keys.room(room, "meta"))
            .key(self.keys.room(room, "kept"))
            .key(self.keys.room(room, "marks"))
            .key(self.keys.channel(room))
            .arg(rand::random::<u64>())
            .arg(record::encode_envelope(&envelope))
            .arg(u8::from(keep))
            .arg(envelope.weight())
            .arg(self.bounds.messages)
            .arg(self.bounds.bytes)
            .arg(millis(self.bounds.age))
            .arg(millis(NUMBERING_EXPIRY.max(self.bounds.age)));
        let (stream, seq): (String, u64) = self.wire.script(&call).await?;
        Ok(Arc::new(RoomItem {
            room,
            stream: StreamId(stream.parse().map_err(|_| MALFORMED_NUMBERS)?),
            seq: Seq::new(seq),
            envelope,
        }))
    }

    async fn history(
        &self,
        room: RoomId,
        from: Seq,
        limit: PageLimit,
    ) -> Result<RoomHistory, EngineError> {
        let mut call = HISTORY_SCRIPT.prepare_invoke();
        call.key(self.keys.room(room, "meta"))
            .key(self.keys.room(room, "kept"))
            .key(self.keys.room(room, "marks"))
            .arg(from.get())
            .arg(limit.items.max(1))
            .arg(limit.bytes)
            .arg(self.bounds.messages)
            .arg(self.bounds.bytes)
            .arg(millis(self.bounds.age));
        let read = self.history.script(&call).await?;
        let (stream, head, more, found): (String, u64, bool, Vec<Vec<u8>>) = read;
        let stream = StreamId(stream.parse().map_err(|_| MALFORMED_NUMBERS)?);
        let (pairs, _) = found.as_chunks::<2>();
        let mut items = Vec::with_capacity(pairs.len());
        for [seq, message] in pairs {
            let seq = std::str::from_utf8(seq).ok().and_then(|it| it.parse().ok());
            let seq = Seq::new(seq.ok_or(MALFORMED_NUMBERS)?);
            // Written by a newer version; room messages are volatile, so it is skipped.
            let Ok(envelope) = record::decode_envelope(message) else {
                gimlet_core::warn_rated!(%room, %seq, "unreadable room message skipped");
                continue;
            };
            items.push(Arc::new(RoomItem {
                room,
                stream,
                seq,
                envelope: Arc::new(envelope),
            }));
        }
        Ok(RoomHistory {
            stream,
            head: Seq::new(head),
            items,
            more,
        })
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[async_trait]
impl RoomStore for RedisRooms {
    async fn publish(
        &self,
        room: RoomId,
        envelope: Arc<Envelope>,
        keep: bool,
    ) -> Result<Arc<RoomItem>, StoreError> {
        let done = Self::publish(self, room, envelope, keep).await;
        done.map_err(|fault| fault.of("room.publish"))
    }

    async fn history(
        &self,
        room: RoomId,
        from: Seq,
        limit: PageLimit,
    ) -> Result<RoomHistory, StoreError> {
        let read = Self::history(self, room, from, limit).await;
        read.map_err(|fault| fault.of("room.history"))
    }

    async fn subscribe(&self, room: RoomId, sink: Arc<dyn RoomSink>) -> Result<(), StoreError> {
        let subscribing = async {
            self.wire.owned().await?;
            self.feed.subscribe(room, &sink).await
        };
        let done = subscribing.await;
        done.map_err(|fault| fault.of("room.subscribe"))
    }

    async fn unsubscribe(&self, room: RoomId, sink: Arc<dyn RoomSink>) -> Result<(), StoreError> {
        self.feed.unsubscribe(room, &sink).await;
        Ok(())
    }
}
