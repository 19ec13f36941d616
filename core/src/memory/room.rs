//! Rooms of one process: for in-memory storage, and for an embedded engine.
//!
//! Each room has its own lock. Under it a message gets its seq and is handed to the sinks, so every
//! sink gets the room's messages in seq order, and a subscription that has ended gets no more. The
//! memory of all rooms together is bounded, and a timer drops messages that are too old even if
//! nothing is published.

mod kept;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::task::TaskTracker;

use kept::KeptMessages;
pub use kept::RoomBounds;

use crate::envelope::Envelope;
use crate::id::RoomId;
use crate::memory::helpers::lock;
use crate::page::PageLimit;
use crate::seq::Seq;
use crate::store::{RoomHistory, RoomItem, RoomSink, RoomStore, StoreError, StreamId};
use crate::time::{SystemClock, TimeSource};

/// Bytes counted for an open room in addition to its messages.
const ROOM_OVERHEAD_BYTES: usize = 512;

/// Minimum time between two sweeps of the timer.
const ROOM_SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Rooms that one publish examines without freeing memory before it leaves the rest to the next.
const MAX_VAIN_EXAMINATIONS: usize = 64;

/// Rooms of one process, with their brief history.
#[derive(Debug)]
pub struct MemoryRoom {
    inner: Arc<MemoryRoomInner>,
}

#[derive(Debug)]
struct MemoryRoomInner {
    clock: Arc<dyn TimeSource>,
    bounds: RoomBounds,
    // Std mutexes: nothing is awaited under them, and sinks must not block. Lock order: rooms, then
    // a room. A room's lock is only tried while the rooms are locked, because publishers hold a
    // room's lock while the sinks run.
    rooms: Mutex<RoomTable>,
    /// Bytes of all rooms.
    total: AtomicUsize,
    /// Set while the timer runs.
    sweeping: AtomicBool,
}

#[derive(Debug, Default)]
struct RoomTable {
    open: HashMap<RoomId, Arc<Mutex<OpenRoom>>>,
    /// The time at which each open room is examined next; one entry per room. The time may be too
    /// early, but never too late.
    looks: BinaryHeap<Reverse<(Duration, RoomId)>>,
}

#[derive(Debug)]
struct OpenRoom {
    /// Set when the room was dropped from the table. A caller that still holds it looks the room up
    /// again.
    dropped: bool,
    stream: StreamId,
    head: Seq,
    kept: KeptMessages,
    sinks: Vec<Arc<dyn RoomSink>>,
    used: Duration,
}

/// Result of examining a room.
enum ExamineResult {
    /// The room is empty and unused: remove it from the table.
    Drop,
    /// Examine the room again at this time.
    Again(Duration),
}

impl Default for MemoryRoom {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock), RoomBounds::default())
    }
}

impl MemoryRoom {
    /// Creates a store without rooms. The clock's monotonic time determines the age of messages.
    #[must_use]
    pub fn new(clock: Arc<dyn TimeSource>, bounds: RoomBounds) -> Self {
        Self {
            inner: Arc::new(MemoryRoomInner {
                clock,
                bounds,
                rooms: Mutex::default(),
                total: AtomicUsize::new(0),
                sweeping: AtomicBool::new(false),
            }),
        }
    }

    /// Returns the bytes that all rooms hold now, each message and room counted with its overhead.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.inner.total.load(Ordering::Relaxed)
    }

    /// Calls `act` with a room under its lock, opening the room if there is none.
    fn with<T>(&self, id: RoomId, now: Duration, act: impl FnOnce(&mut OpenRoom) -> T) -> T {
        loop {
            // The room may be dropped between the look-up and its lock; then look it up again.
            let room = self.inner.get_or_open(id, now);
            // After the look-up: a timer that ends before it leaves the flag cleared, and one that
            // looks after it finds the room.
            self.start_sweeping();
            let mut room = lock(&room);
            if !room.dropped {
                room.used = room.used.max(now);
                return self.inner.counted(&mut room, act);
            }
        }
    }

    /// Calls `act` with a room under its lock, if it is open.
    fn with_open<T>(&self, id: RoomId, act: impl FnOnce(&mut OpenRoom) -> T) -> Option<T> {
        let room = lock(&self.inner.rooms).open.get(&id).map(Arc::clone)?;
        let mut room = lock(&room);
        (!room.dropped).then(|| self.inner.counted(&mut room, act))
    }

    /// Starts the timer unless it runs. It ends when no room is open.
    fn start_sweeping(&self) {
        if self.inner.sweeping.load(Ordering::Acquire)
            || self.inner.sweeping.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let sweeper = RoomSweeper::new(&self.inner);
        TaskTracker::new().spawn(sweeper.run());
    }
}

/// Task of the timer.
struct RoomSweeper {
    inner: Weak<MemoryRoomInner>,
    /// Set when the timer has ended by itself; then another one may run already.
    ended: bool,
}

impl Drop for RoomSweeper {
    fn drop(&mut self) {
        // The runtime may end before the store does; then the next call starts another timer.
        if !self.ended
            && let Some(inner) = self.inner.upgrade()
        {
            inner.sweeping.store(false, Ordering::Release);
        }
    }
}

impl RoomSweeper {
    fn new(inner: &Arc<MemoryRoomInner>) -> Self {
        Self {
            inner: Arc::downgrade(inner),
            ended: false,
        }
    }

    async fn run(mut self) {
        while let Some(wait) = self.step() {
            tokio::time::sleep(wait.max(ROOM_SWEEP_INTERVAL)).await;
        }
    }

    /// Sweeps once; returns the time until the next sweep, or `None` if the timer has ended.
    fn step(&mut self) -> Option<Duration> {
        let inner = self.inner.upgrade()?;
        let wait = inner.sweep(inner.clock.monotonic());
        self.ended = wait.is_none();
        wait
    }
}

impl MemoryRoomInner {
    fn get_or_open(&self, id: RoomId, now: Duration) -> Arc<Mutex<OpenRoom>> {
        let mut rooms = lock(&self.rooms);
        if let Some(room) = rooms.open.get(&id) {
            return Arc::clone(room);
        }
        let room = Arc::new(Mutex::new(OpenRoom::open(now)));
        rooms.looks.push(Reverse((now + self.bounds.age, id)));
        rooms.open.insert(id, Arc::clone(&room));
        self.total.fetch_add(ROOM_OVERHEAD_BYTES, Ordering::Relaxed);
        room
    }

    /// Changes a room, and adjusts the total by the bytes it holds more or less.
    fn counted<T>(&self, room: &mut OpenRoom, act: impl FnOnce(&mut OpenRoom) -> T) -> T {
        let before = room.kept.bytes();
        let done = act(room);
        let after = room.kept.bytes();
        self.total.fetch_add(after, Ordering::Relaxed);
        self.total.fetch_sub(before, Ordering::Relaxed);
        done
    }

    /// Drops messages that are too old. Returns the time until the next room must be examined;
    /// `None` if no room is open.
    fn sweep(&self, now: Duration) -> Option<Duration> {
        let mut rooms = lock(&self.rooms);
        loop {
            let Some(&Reverse((due, id))) = rooms.looks.peek() else {
                rooms.give_back();
                // Under the lock: a room that is opened after this starts another timer.
                self.sweeping.store(false, Ordering::Release);
                return None;
            };
            let wait = due.saturating_sub(now);
            if !wait.is_zero() {
                rooms.give_back();
                return Some(wait);
            }
            self.look(&mut rooms, (id, now, false), |room| {
                room.kept.drop_old(now, self.bounds.age);
            });
        }
    }

    /// Drops the oldest messages of all rooms while the total is above its limit.
    fn shrink(&self, now: Duration) {
        let over = || self.total.load(Ordering::Relaxed) > self.bounds.total_bytes;
        if !over() {
            return;
        }
        let mut rooms = lock(&self.rooms);
        let mut vain = MAX_VAIN_EXAMINATIONS;
        while over() && vain > 0 {
            let Some(&Reverse((_, id))) = rooms.looks.peek() else {
                return;
            };
            let before = self.total.load(Ordering::Relaxed);
            self.look(&mut rooms, (id, now, true), |room| {
                room.kept.drop_old(now, self.bounds.age);
                if over() {
                    room.kept.drop_oldest();
                }
            });
            if self.total.load(Ordering::Relaxed) >= before {
                vain -= 1;
            }
        }
    }

    /// Examines the first room in line: removes it from the table or schedules it for later. With
    /// `pressed`, when memory is short, an unused room without messages is removed before its time.
    fn look(
        &self,
        rooms: &mut RoomTable,
        (id, now, pressed): (RoomId, Duration, bool),
        act: impl FnOnce(&mut OpenRoom),
    ) {
        rooms.looks.pop();
        let Some(room) = rooms.open.get(&id).map(Arc::clone) else {
            return;
        };
        let look = match room.try_lock() {
            Ok(mut room) => {
                self.counted(&mut room, act);
                room.look(now, self.bounds.age, pressed)
            }
            // The room is in use, so it is not idle.
            Err(TryLockError::WouldBlock) => ExamineResult::Again(now + ROOM_SWEEP_INTERVAL),
            Err(TryLockError::Poisoned(broken)) => {
                PoisonError::into_inner(broken).dropped = true;
                ExamineResult::Drop
            }
        };
        match look {
            ExamineResult::Again(due) => rooms.looks.push(Reverse((due, id))),
            ExamineResult::Drop => {
                rooms.open.remove(&id);
                self.total.fetch_sub(ROOM_OVERHEAD_BYTES, Ordering::Relaxed);
            }
        }
    }
}

impl RoomTable {
    /// Releases memory when far fewer rooms are open than before.
    fn give_back(&mut self) {
        if self.open.capacity() > 4 * self.open.len() + 1_024 {
            self.open.shrink_to(2 * self.open.len());
            self.looks.shrink_to(2 * self.looks.len());
        }
    }
}

impl OpenRoom {
    fn open(now: Duration) -> Self {
        Self {
            dropped: false,
            stream: StreamId(rand::random()),
            head: Seq::ZERO,
            kept: KeptMessages::default(),
            sinks: Vec::new(),
            used: now,
        }
    }

    /// Returns the time at which to examine the room again. A room without messages and sinks that
    /// was not used for a while is dropped; if it is opened again, it has another stream.
    fn look(&mut self, now: Duration, age: Duration, pressed: bool) -> ExamineResult {
        if let Some(oldest) = self.kept.oldest() {
            return ExamineResult::Again(oldest + age);
        }
        let due = self.used + age;
        if self.sinks.is_empty() && (due <= now || pressed) {
            self.dropped = true;
            return ExamineResult::Drop;
        }
        ExamineResult::Again(if due > now { due } else { now + age })
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

    fn history(&self, from: Seq, limit: PageLimit) -> RoomHistory {
        let page = self.kept.page(from, limit);
        RoomHistory {
            stream: self.stream,
            head: self.head,
            items: page.items,
            more: page.more,
        }
    }
}

/// Returns whether two handles refer to the same sink.
fn same(a: &Arc<dyn RoomSink>, b: &Arc<dyn RoomSink>) -> bool {
    // Compares the data pointers only, because one type's vtable may have several addresses.
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
        let (now, bounds) = (self.inner.clock.monotonic(), self.inner.bounds);
        let item = self.with(room, now, |it| {
            it.kept.drop_old(now, bounds.age);
            let item = it.publish(room, envelope);
            if keep {
                it.kept.push(now, &item, bounds);
            }
            item
        });
        self.inner.shrink(now);
        Ok(item)
    }

    async fn history(
        &self,
        room: RoomId,
        from: Seq,
        limit: PageLimit,
    ) -> Result<RoomHistory, StoreError> {
        let now = self.inner.clock.monotonic();
        let known = self.with_open(room, |it| {
            it.kept.drop_old(now, self.inner.bounds.age);
            it.history(from, limit)
        });
        // A read does not open a room; its first message opens the stream.
        Ok(known.unwrap_or_else(|| OpenRoom::open(now).history(from, limit)))
    }

    async fn subscribe(&self, room: RoomId, sink: Arc<dyn RoomSink>) -> Result<(), StoreError> {
        self.with(room, self.inner.clock.monotonic(), |it| {
            if !it.sinks.iter().any(|known| same(known, &sink)) {
                it.sinks.push(sink);
            }
        });
        Ok(())
    }

    async fn unsubscribe(&self, room: RoomId, sink: Arc<dyn RoomSink>) -> Result<(), StoreError> {
        let now = self.inner.clock.monotonic();
        self.with_open(room, |it| {
            it.sinks.retain(|known| !same(known, &sink));
            it.used = it.used.max(now);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::time::ManualClock;

    fn store() -> MemoryRoom {
        MemoryRoom::new(Arc::new(ManualClock::default()), RoomBounds::default())
    }

    fn room(n: u64) -> RoomId {
        RoomId::new(n).unwrap()
    }

    /// A room that was opened while the timer ended had none until the next call.
    #[tokio::test]
    async fn an_open_room_has_a_timer() {
        let runtime = tokio::runtime::Handle::current();
        for _ in 0..300 {
            let store = store();
            store.inner.sweeping.store(true, Ordering::SeqCst);
            let barrier = Barrier::new(2);
            std::thread::scope(|scope| {
                // The timer has found no room, and ends under the lock of the rooms.
                let rooms = lock(&store.inner.rooms);
                scope.spawn(|| {
                    let _runtime = runtime.enter();
                    barrier.wait();
                    store.with(room(1), Duration::ZERO, |_| {});
                });
                barrier.wait();
                // The other thread goes on as far as it can.
                (0..100).for_each(|_| std::thread::yield_now());
                store.inner.sweeping.store(false, Ordering::SeqCst);
                drop(rooms);
            });
            assert!(store.inner.sweeping.load(Ordering::SeqCst));
        }
    }

    /// A timer that had ended cleared the flag of the next one, so that a third one was started.
    #[tokio::test]
    async fn a_timer_that_has_ended_does_not_hide_the_next_one() {
        let store = store();
        store.inner.sweeping.store(true, Ordering::SeqCst);
        let mut first = RoomSweeper::new(&store.inner);
        assert_eq!(first.step(), None);
        assert!(!store.inner.sweeping.load(Ordering::SeqCst));
        store.with(room(1), Duration::ZERO, |_| {});
        drop(first);
        assert!(store.inner.sweeping.load(Ordering::SeqCst));
        // One that is dropped with its runtime does clear it.
        drop(RoomSweeper::new(&store.inner));
        assert!(!store.inner.sweeping.load(Ordering::SeqCst));
    }
}
