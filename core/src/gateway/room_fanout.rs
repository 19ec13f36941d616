//! Room fan-out: the members of one room on this node, and the messages about to be handed to them.
//!
//! A task of the fan-out hands messages to all members in a flush. Messages published before the
//! flush begins are part of it: each member is locked and woken once for all of them, and writes
//! them in one system call, which is the main cost of a delivery. The flush waits for no timer: the
//! task yields to the runnable tasks, then flushes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::task::TaskTracker;

use crate::hub::{ConnectionHandle, ConnectionHub};
use crate::id::{ConnId, RoomId};
use crate::room_batch::RoomBatch;
use crate::store::RoomItem;

/// Messages, and their bytes, that may wait for a flush. The publisher that reaches either bound
/// flushes itself.
const MAX_PENDING_ITEMS_AND_BYTES: (usize, usize) = (64, 64 * 1024);

/// Batching delay per member: how long a flush waits for another message after the last one. It is
/// a small part of the time that handing over takes. The long delay applies after a flush of
/// several messages, because bursts follow bursts.
const SHORT_BATCHING_DELAY: Duration = Duration::from_nanos(30);
const LONG_BATCHING_DELAY: Duration = Duration::from_nanos(250);

/// Longest delay of a flush, whatever arrives.
const MAX_BATCHING_DELAY: Duration = Duration::from_micros(500);

/// Flushes in a row before the task yields again.
const MAX_FLUSHES_IN_A_ROW: usize = 4;

/// The members of one room.
#[derive(Debug)]
pub(super) struct RoomFanout {
    room: RoomId,
    hub: Arc<ConnectionHub>,
    tracker: TaskTracker,
    // Std mutexes, because nothing is awaited under them. Lock order: `RoomTable::open`, `members`,
    // `waiting`, a handle.
    members: Mutex<RoomMembers>,
    waiting: Mutex<PendingItems>,
}

/// Dense, because a flush visits every member.
#[derive(Debug, Default)]
struct RoomMembers {
    handles: Vec<Arc<ConnectionHandle>>,
    positions: HashMap<ConnId, usize>,
}

#[derive(Debug, Default)]
struct PendingItems {
    items: Vec<Arc<RoomItem>>,
    bytes: usize,
    /// Set if the last flush had several messages.
    burst: bool,
    /// Set while a task exists that will flush.
    expected: bool,
}

impl RoomFanout {
    pub(super) fn new(room: RoomId, hub: Arc<ConnectionHub>, tracker: TaskTracker) -> Self {
        Self {
            room,
            hub,
            tracker,
            members: Mutex::default(),
            waiting: Mutex::default(),
        }
    }

    /// Adds a member and returns the number of members. Waiting messages are flushed first, so the
    /// new member gets only those published from now on.
    pub(super) fn enter(&self, handle: &Arc<ConnectionHandle>) -> usize {
        let mut members = lock(&self.members);
        self.flush(&members);
        members.insert(handle);
        members.handles.len()
    }

    /// Removes a member; returns whether it was present, and the number of members left.
    pub(super) fn leave(&self, conn: ConnId) -> (bool, usize) {
        let mut members = lock(&self.members);
        (members.remove(conn), members.handles.len())
    }

    /// Queues a message, to be flushed together with those that follow closely.
    pub(super) fn deliver(self: &Arc<Self>, item: &Arc<RoomItem>) {
        let mut waiting = lock(&self.waiting);
        waiting.bytes += item.envelope.weight();
        waiting.items.push(Arc::clone(item));
        let full = waiting.items.len() >= MAX_PENDING_ITEMS_AND_BYTES.0
            || waiting.bytes >= MAX_PENDING_ITEMS_AND_BYTES.1;
        let expected = std::mem::replace(&mut waiting.expected, true);
        drop(waiting);
        if !expected {
            self.tracker.spawn(Arc::clone(self).flush_all());
        }
        if full {
            self.flush(&lock(&self.members));
        }
    }

    /// Marks a gap in the room's feed, after the waiting messages.
    pub(super) fn interrupted(&self) {
        let members = lock(&self.members);
        self.flush(&members);
        for handle in &members.handles {
            handle.interrupt_room(self.room);
        }
    }

    async fn flush_all(self: Arc<Self>) {
        loop {
            self.gather().await;
            // Messages that arrived during a flush are flushed before the members run, because many
            // members have not written yet.
            for _ in 0..MAX_FLUSHES_IN_A_ROW {
                if !self.flush(&lock(&self.members)) {
                    return;
                }
            }
        }
    }

    /// Yields to runnable tasks while that brings more messages, and a little longer where a flush
    /// is long.
    #[expect(
        clippy::disallowed_methods,
        reason = "it polls without sleeping, so a paused clock would never end it"
    )]
    async fn gather(&self) {
        let members = u32::try_from(lock(&self.members).handles.len()).unwrap_or(u32::MAX);
        let each = if lock(&self.waiting).burst {
            LONG_BATCHING_DELAY
        } else {
            SHORT_BATCHING_DELAY
        };
        let patience = each.saturating_mul(members);
        let begun = Instant::now();
        let (mut before, mut last) = (1, begun);
        loop {
            tokio::task::yield_now().await;
            let (count, now) = (lock(&self.waiting).items.len(), Instant::now());
            if count > before {
                (before, last) = (count, now);
            }
            if now - last >= patience || now - begun >= MAX_BATCHING_DELAY {
                return;
            }
            // The publisher may be another process that needs this core. Meanwhile this worker's
            // other tasks move to another worker or wait.
            std::thread::yield_now();
        }
    }

    /// Flushes the waiting messages; `false` if there were none, and then the next message spawns a
    /// new task. The caller holds the members' lock, so flushes cannot overtake each other.
    fn flush(&self, members: &RoomMembers) -> bool {
        let items = {
            let mut waiting = lock(&self.waiting);
            waiting.bytes = 0;
            if !waiting.items.is_empty() {
                waiting.burst = waiting.items.len() > 1;
            }
            waiting.expected &= !waiting.items.is_empty();
            std::mem::take(&mut waiting.items)
        };
        if items.is_empty() {
            return false;
        }
        self.hub.count_pushes(members.handles.len() * items.len());
        let batches = RoomBatch::of(&items);
        for handle in &members.handles {
            for batch in &batches {
                handle.offer_room(batch);
            }
        }
        true
    }
}

impl RoomMembers {
    fn insert(&mut self, handle: &Arc<ConnectionHandle>) {
        if let Entry::Vacant(place) = self.positions.entry(handle.identity().conn) {
            place.insert(self.handles.len());
            self.handles.push(Arc::clone(handle));
        }
    }

    fn remove(&mut self, conn: ConnId) -> bool {
        let Some(place) = self.positions.remove(&conn) else {
            return false;
        };
        self.handles.swap_remove(place);
        if let Some(moved) = self.handles.get(place) {
            self.positions.insert(moved.identity().conn, place);
        }
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
