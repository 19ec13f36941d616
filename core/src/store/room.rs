//! Rooms: read-diffusion, kept briefly, never part of an inbox.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::envelope::Envelope;
use crate::id::RoomId;
use crate::page::PageLimit;
use crate::seq::Seq;
use crate::store::StoreError;

/// The id of one unbroken stream of a room. When the room's numbering was lost, the next message
/// opens another stream, and a cursor into the old one is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId(pub u64);

/// A message of a room.
#[derive(Clone, Debug)]
pub struct RoomItem {
    /// The room.
    pub room: RoomId,
    /// The stream that `seq` counts in.
    pub stream: StreamId,
    /// Its place in the stream: 1, 2, 3 … for kept and live-only messages alike.
    pub seq: Seq,
    /// The message with its sender's profile as of then, shared by all who get it.
    pub envelope: Arc<Envelope>,
}

/// What is kept of a room.
#[derive(Clone, Debug)]
pub struct RoomHistory {
    /// The current stream.
    pub stream: StreamId,
    /// The seq of the last message, kept or not.
    pub head: Seq,
    /// The kept messages asked for, ascending.
    pub items: Vec<Arc<RoomItem>>,
    /// Whether more are kept behind the last item.
    pub more: bool,
}

/// Takes what is published in the rooms a node has subscribed to. Calls must not block.
pub trait RoomSink: Debug + Send + Sync + 'static {
    /// A message was published; the items of one room come in seq order.
    fn deliver(&self, item: &Arc<RoomItem>);

    /// Something may have been missed in this room: read its history again.
    fn interrupted(&self, room: RoomId);
}

/// Rooms and their brief history.
#[async_trait]
pub trait RoomStore: Debug + Send + Sync + 'static {
    /// Gives the message its place in the room and hands it to every subscribed sink, in one step;
    /// keeps it for a while (bounded in time, count and bytes) if `keep` is set.
    async fn publish(
        &self,
        room: RoomId,
        envelope: Arc<Envelope>,
        keep: bool,
    ) -> Result<Arc<RoomItem>, StoreError>;

    /// A page of the kept messages with seq **at or above** `from`, ascending. It ends with the item
    /// that passes `limit.bytes`, each message counted with its profile: reading it costs what it
    /// returns, however much the room keeps.
    async fn history(
        &self,
        room: RoomId,
        from: Seq,
        limit: PageLimit,
    ) -> Result<RoomHistory, StoreError>;

    /// Delivers what is published from now on to this sink. A second call for the same room and
    /// sink changes nothing.
    async fn subscribe(&self, room: RoomId, sink: Arc<dyn RoomSink>) -> Result<(), StoreError>;

    /// Ends the subscription of this sink; nothing is delivered to it after this returns.
    async fn unsubscribe(&self, room: RoomId, sink: Arc<dyn RoomSink>) -> Result<(), StoreError>;
}
