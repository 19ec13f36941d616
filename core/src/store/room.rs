//! Rooms: stored once per room and not per recipient, kept briefly, never part of an inbox.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::envelope::Envelope;
use crate::id::RoomId;
use crate::page::PageLimit;
use crate::seq::Seq;
use crate::store::StoreError;

/// Id of one unbroken stream of a room. If the room's numbering is lost, the next message opens
/// another stream, and positions in the old one become invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId(pub u64);

/// A message of a room.
#[derive(Clone, Debug)]
pub struct RoomItem {
    /// The room.
    pub room: RoomId,
    /// The stream that `seq` belongs to.
    pub stream: StreamId,
    /// Seq in the stream: 1, 2, 3 … for kept and live-only messages alike.
    pub seq: Seq,
    /// The message with its sender's profile at that time, shared by all recipients.
    pub envelope: Arc<Envelope>,
}

/// A page of the kept messages of a room.
#[derive(Clone, Debug)]
pub struct RoomHistory {
    /// The current stream.
    pub stream: StreamId,
    /// The seq of the last message, kept or not.
    pub head: Seq,
    /// The requested messages that are kept, ascending.
    pub items: Vec<Arc<RoomItem>>,
    /// Set if more messages are kept after the last item.
    pub more: bool,
}

/// Receiver of the messages in the rooms that a node has subscribed to. Calls must not block.
pub trait RoomSink: Debug + Send + Sync + 'static {
    /// Takes a message that was published; the messages of one room arrive in seq order.
    fn deliver(&self, item: &Arc<RoomItem>);

    /// Reports that messages of this room may have been missed: read its history again.
    fn interrupted(&self, room: RoomId);
}

/// Store of rooms and their brief history.
#[async_trait]
pub trait RoomStore: Debug + Send + Sync + 'static {
    /// Assigns the message its seq in the room and hands it to every subscribed sink, in one step.
    /// Keeps it for a while (bounded in time, count and bytes) if `keep` is set.
    async fn publish(
        &self,
        room: RoomId,
        envelope: Arc<Envelope>,
        keep: bool,
    ) -> Result<Arc<RoomItem>, StoreError>;

    /// Returns a page of the kept messages with seq **at or above** `from`, ascending. The page
    /// ends with the item that passes `limit.bytes`, each message counted with its profile. The
    /// cost of a read depends on the page and not on the size of the room.
    async fn history(
        &self,
        room: RoomId,
        from: Seq,
        limit: PageLimit,
    ) -> Result<RoomHistory, StoreError>;

    /// Delivers messages published from now on to this sink. A second call for the same room and
    /// sink changes nothing.
    async fn subscribe(&self, room: RoomId, sink: Arc<dyn RoomSink>) -> Result<(), StoreError>;

    /// Ends the subscription of this sink; nothing is delivered to it after this returns.
    async fn unsubscribe(&self, room: RoomId, sink: Arc<dyn RoomSink>) -> Result<(), StoreError>;
}
