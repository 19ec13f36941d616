//! Rooms in process: for in-memory storage, and for an embedded engine with one process.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use async_trait::async_trait;

use crate::envelope::Envelope;
use crate::id::RoomId;
use crate::memory::lock;
use crate::seq::Seq;
use crate::store::{RoomHistory, RoomItem, RoomSink, RoomStore, StoreError, StreamId};
use crate::time::{Clock, SystemClock, Timestamp};

/// Rooms looked at for being idle at each call: with two, the rooms go faster than they come.
const LOOKS: usize = 2;

/// What a room keeps; beyond any of these the oldest messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomBounds {
    /// Kept messages; default 1,000.
    pub messages: usize,
    /// Their bytes, each counted with its overhead; default 4 MiB.
    pub bytes: usize,
    /// How long they are kept, and how long an unused room keeps its numbering; default 2 minutes.
    pub age: Duration,
}

impl Default for RoomBounds {
    fn default() -> Self {
        Self {
            messages: 1_000,
            bytes: 4 << 20,
            age: Duration::from_mins(2),
        }
    }
}

/// Rooms and their brief history.
///
/// Each room has a lock of its own: under it a message gets its seq and is handed to the sinks, so
/// every sink sees the room in seq order, and a subscription that has ended gets nothing more.
#[derive(Debug)]
pub struct MemoryRoom {
    clock: Arc<dyn Clock>,
    bounds: RoomBounds,
    // Std mutexes: nothing awaits under them, and sinks must not block. The order is rooms, room.
    rooms: Mutex<Rooms>,
}

#[derive(Debug, Default)]
struct Rooms {
    open: HashMap<RoomId, Arc<Mutex<Room>>>,
    /// When to look whether a room is idle; each open room stands here once.
    looks: VecDeque<(Timestamp, RoomId)>,
}

#[derive(Debug)]
struct Room {
    /// Set when it was dropped from the table: whoever still holds it looks the room up again.
    dropped: bool,
    stream: StreamId,
    head: Seq,
    kept: VecDeque<(Timestamp, Arc<RoomItem>)>,
    bytes: usize,
    sinks: Vec<Arc<dyn RoomSink>>,
    used: Timestamp,
}

impl Default for MemoryRoom {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock), RoomBounds::default())
    }
}

impl MemoryRoom {
    /// No rooms yet; the clock says when a message is too old.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, bounds: RoomBounds) -> Self {
        Self {
            clock,
            bounds,
            rooms: Mutex::default(),
        }
    }

    /// Does something with a room under its lock, making it if there is none.
    fn with<T>(&self, id: RoomId, now: Timestamp, act: impl FnOnce(&mut Room) -> T) -> T {
        loop {
            let room = lock(&self.rooms).get_or_open(id, now, self.bounds);
            let mut room = lock(&room);
            if !room.dropped {
                room.used = room.used.max(now);
                return act(&mut room);
            }
        }
    }

    /// Does something with a room under its lock, if there is one.
    fn with_open<T>(&self, id: RoomId, act: impl FnOnce(&mut Room) -> T) -> Option<T> {
        let room = lock(&self.rooms).open.get(&id).map(Arc::clone)?;
        let mut room = lock(&room);
        (!room.dropped).then(|| act(&mut room))
    }
}

impl Rooms {
    fn get_or_open(&mut self, id: RoomId, now: Timestamp, bounds: RoomBounds) -> Arc<Mutex<Room>> {
        self.drop_idle(now, bounds);
        if let Some(room) = self.open.get(&id) {
            return Arc::clone(room);
        }
        let room = Arc::new(Mutex::new(Room::open(now)));
        self.looks.push_back((now.after(bounds.age), id));
        self.open.insert(id, Arc::clone(&room));
        room
    }

    /// Drops a few rooms that nobody listens to and nothing was said in for a while. A room that
    /// comes back is another stream.
    fn drop_idle(&mut self, now: Timestamp, bounds: RoomBounds) {
        for _ in 0..LOOKS {
            if self.looks.front().is_none_or(|(at, _)| *at > now) {
                return;
            }
            let Some((_, id)) = self.looks.pop_front() else {
                return;
            };
            if self
                .open
                .get(&id)
                .is_some_and(|room| drop_if_idle(room, now, bounds))
            {
                self.open.remove(&id);
            } else {
                self.looks.push_back((now.after(bounds.age), id));
            }
        }
    }
}

/// Marks the room dropped if it is idle. A room someone is working on is not.
fn drop_if_idle(room: &Mutex<Room>, now: Timestamp, bounds: RoomBounds) -> bool {
    let mut room = match room.try_lock() {
        Ok(room) => room,
        Err(TryLockError::WouldBlock) => return false,
        Err(TryLockError::Poisoned(broken)) => PoisonError::into_inner(broken),
    };
    room.forget_old(now, bounds);
    room.dropped = room.sinks.is_empty() && room.used.after(bounds.age) <= now;
    room.dropped
}

impl Room {
    fn open(now: Timestamp) -> Self {
        Self {
            dropped: false,
            stream: StreamId(rand::random()),
            head: Seq::ZERO,
            kept: VecDeque::new(),
            bytes: 0,
            sinks: Vec::new(),
            used: now,
        }
    }

    fn publish(&mut self, room: RoomId, envelope: Arc<Envelope>) -> Arc<RoomItem> {
        self.head = self.head.next();
        let item = Arc::new(RoomItem {
            room,
            stream: self.stream,
            seq: self.head,
            envelope,
        });
        for sink in &self.sinks {
            sink.deliver(&item);
        }
        item
    }

    fn keep(&mut self, item: &Arc<RoomItem>, now: Timestamp, bounds: RoomBounds) {
        self.bytes += item.envelope.weight();
        self.kept.push_back((now, Arc::clone(item)));
        while self.kept.len() > bounds.messages || self.bytes > bounds.bytes {
            self.forget_oldest();
        }
    }

    fn forget_old(&mut self, now: Timestamp, bounds: RoomBounds) {
        while let Some((at, _)) = self.kept.front()
            && at.after(bounds.age) <= now
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, item)) = self.kept.pop_front() {
            self.bytes = self.bytes.saturating_sub(item.envelope.weight());
        }
    }

    fn history(&self, from: Seq, limit: usize) -> RoomHistory {
        let start = self.kept.partition_point(|(_, item)| item.seq < from);
        let items = self.kept.range(start..).map(|(_, item)| Arc::clone(item));
        let page = super::page(items, limit);
        RoomHistory {
            stream: self.stream,
            head: self.head,
            items: page.items,
            more: page.more,
        }
    }
}

/// Whether two handles are of one sink.
fn same(a: &Arc<dyn RoomSink>, b: &Arc<dyn RoomSink>) -> bool {
    // The data pointers alone: one type's vtable may have several addresses.
    std::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b))
}

#[async_trait]
impl RoomStore for MemoryRoom {
    async fn publish(
        &self,
        room: RoomId,
        envelope: Arc<Envelope>,
        keep: bool,
    ) -> Result<Arc<RoomItem>, StoreError> {
        let now = self.clock.now();
        Ok(self.with(room, now, |it| {
            it.forget_old(now, self.bounds);
            let item = it.publish(room, envelope);
            if keep {
                it.keep(&item, now, self.bounds);
            }
            item
        }))
    }

    async fn history(
        &self,
        room: RoomId,
        from: Seq,
        limit: usize,
    ) -> Result<RoomHistory, StoreError> {
        let now = self.clock.now();
        let known = self.with_open(room, |it| {
            it.forget_old(now, self.bounds);
            it.history(from, limit)
        });
        // Asking about a room does not make one: its first message opens the stream.
        Ok(known.unwrap_or_else(|| Room::open(now).history(from, limit)))
    }

    async fn subscribe(&self, room: RoomId, sink: Arc<dyn RoomSink>) -> Result<(), StoreError> {
        self.with(room, self.clock.now(), |it| {
            if !it.sinks.iter().any(|known| same(known, &sink)) {
                it.sinks.push(sink);
            }
        });
        Ok(())
    }

    async fn unsubscribe(&self, room: RoomId, sink: Arc<dyn RoomSink>) -> Result<(), StoreError> {
        let now = self.clock.now();
        self.with_open(room, |it| {
            it.sinks.retain(|known| !same(known, &sink));
            it.used = it.used.max(now);
        });
        Ok(())
    }
}
