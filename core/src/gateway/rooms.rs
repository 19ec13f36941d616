//! The rooms of this node and the connections in each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio_util::task::TaskTracker;

use super::room_fanout::RoomFanout;
use crate::hub::{ConnectionHandle, ConnectionHub};
use crate::id::{ConnId, RoomId};
use crate::store::{RoomItem, RoomSink};

/// The node's room subscribers. The store delivers a room's messages in order, and the room's
/// fan-out keeps that order.
#[derive(Debug)]
pub(super) struct RoomSubscriptions {
    hub: Arc<ConnectionHub>,
    tracker: TaskTracker,
    open: Mutex<HashMap<RoomId, Arc<RoomFanout>>>,
    /// Held while the node subscribes to a room or unsubscribes from it, so that the two cannot
    /// overtake each other (gim-defects C-16, C-17). One lock per room that is being changed: a
    /// store that hangs over one room delays no other.
    gates: Mutex<HashMap<RoomId, Arc<AsyncMutex<()>>>>,
}

impl RoomSubscriptions {
    pub(super) fn new(hub: Arc<ConnectionHub>, tracker: TaskTracker) -> Self {
        Self {
            hub,
            tracker,
            open: Mutex::default(),
            gates: Mutex::default(),
        }
    }

    /// Acquires the lock under which the node subscribes to the room or unsubscribes.
    pub(super) async fn gate(&self, room: RoomId) -> RoomGate<'_> {
        let mutex = Arc::clone(lock(&self.gates).entry(room).or_default());
        // From here on, the last holder removes the lock from the map.
        let mut gate = RoomGate {
            rooms: self,
            room,
            mutex: Arc::clone(&mutex),
            held: None,
        };
        gate.held = Some(mutex.lock_owned().await);
        gate
    }

    /// Adds a subscriber; returns whether it is the room's first on this node.
    pub(super) fn enter(&self, room: RoomId, handle: &Arc<ConnectionHandle>) -> bool {
        let mut rooms = lock(&self.open);
        let fanout = rooms.entry(room).or_insert_with(|| {
            let (hub, tracker) = (Arc::clone(&self.hub), self.tracker.clone());
            Arc::new(RoomFanout::new(room, hub, tracker))
        });
        fanout.enter(handle) == 1
    }

    /// Removes a subscriber; returns whether the room has none left on this node.
    pub(super) fn leave(&self, room: RoomId, conn: ConnId) -> bool {
        let mut rooms = lock(&self.open);
        let Some(fanout) = rooms.get(&room) else {
            return false;
        };
        let (was_there, left) = fanout.leave(conn);
        if left == 0 {
            rooms.remove(&room);
        }
        was_there && left == 0
    }

    #[cfg(test)]
    pub(super) fn gates_open(&self) -> usize {
        lock(&self.gates).len()
    }

    #[cfg(test)]
    pub(super) fn rooms_open(&self) -> usize {
        lock(&self.open).len()
    }

    fn fanout(&self, room: RoomId) -> Option<Arc<RoomFanout>> {
        lock(&self.open).get(&room).cloned()
    }
}

/// The lock of one room, released when it is dropped.
#[derive(Debug)]
pub(super) struct RoomGate<'a> {
    rooms: &'a RoomSubscriptions,
    room: RoomId,
    mutex: Arc<AsyncMutex<()>>,
    held: Option<OwnedMutexGuard<()>>,
}

impl Drop for RoomGate<'_> {
    fn drop(&mut self) {
        self.held = None;
        let mut gates = lock(&self.rooms.gates);
        // The two references are the map's and this one's.
        if Arc::strong_count(&self.mutex) <= 2 {
            gates.remove(&self.room);
        }
    }
}

impl RoomSink for RoomSubscriptions {
    fn deliver(&self, item: &Arc<RoomItem>) {
        if let Some(fanout) = self.fanout(item.room) {
            fanout.deliver(item);
        }
    }

    fn interrupted(&self, room: RoomId) {
        if let Some(fanout) = self.fanout(room) {
            fanout.interrupted();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
