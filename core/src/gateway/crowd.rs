//! The members of one room on this node, and what is about to be handed to them.
//!
//! A message is handed on by a task of the crowd, to a slice of the members at a time; between two
//! slices those run who are ready to: the members who were just handed something, and whoever
//! publishes. What was published by then goes along to all who come later, in one batch: a member is
//! locked and woken once for it, and writes it in one call of its socket, which is what a delivery
//! costs. No timer is involved, and nobody waits for a pass over a large room.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::TaskTracker;

use crate::hub::{Handle, Hub};
use crate::id::{ConnId, RoomId};
use crate::room_batch::RoomBatch;
use crate::store::RoomItem;

/// Members handed something at a time.
const SLICE: usize = 64;

/// Messages, and their bytes, that wait for the slowest slice. Whoever brings more hands them on.
const WAITING: (usize, usize) = (64, 64 * 1024);

/// One room's members.
#[derive(Debug)]
pub(super) struct Crowd {
    room: RoomId,
    tracker: TaskTracker,
    // A std mutex: nothing is awaited under it. Handles are locked under it.
    members: Mutex<Members>,
}

#[derive(Debug)]
struct Members {
    hub: Arc<Hub>,
    /// Dense, because all of them are gone over.
    handles: Vec<Arc<Handle>>,
    places: HashMap<ConnId, usize>,
    /// By slice: up to which place of the stream it was handed.
    handed: Vec<u64>,
    /// The slice that is looked at next.
    next: usize,
    /// What some slice was not handed; it begins at the place `first`.
    waiting: VecDeque<Arc<RoomItem>>,
    first: u64,
    bytes: usize,
    /// The batches from one place to another, which most slices share.
    batches: (u64, u64, Vec<Arc<RoomBatch>>),
    /// A task is there that will hand it on.
    expected: bool,
}

impl Crowd {
    pub(super) fn new(room: RoomId, hub: Arc<Hub>, tracker: TaskTracker) -> Self {
        let members = Members {
            hub,
            handles: Vec::new(),
            places: HashMap::new(),
            handed: Vec::new(),
            next: 0,
            waiting: VecDeque::new(),
            first: 0,
            bytes: 0,
            batches: (0, 0, Vec::new()),
            expected: false,
        };
        Self {
            room,
            tracker,
            members: Mutex::new(members),
        }
    }

    /// Adds a member; returns how many there are. It hears what is published from now on: what
    /// waits is for those who were there before.
    pub(super) fn enter(&self, handle: &Arc<Handle>) -> usize {
        let mut members = lock(&self.members);
        members.insert(handle);
        members.handles.len()
    }

    /// Removes a member; returns whether it was there, and how many are left.
    pub(super) fn leave(&self, conn: ConnId) -> (bool, usize) {
        let mut members = lock(&self.members);
        (members.remove(conn), members.handles.len())
    }

    /// Takes a message, to hand it on with what comes right behind it.
    pub(super) fn deliver(self: &Arc<Self>, item: &Arc<RoomItem>) {
        let mut members = lock(&self.members);
        if !members.push(item) {
            members.catch_up();
        }
        let expected = std::mem::replace(&mut members.expected, true);
        drop(members);
        if !expected {
            self.tracker.spawn(Arc::clone(self).hand_on());
        }
    }

    /// The feed has a hole behind what waits.
    pub(super) fn interrupted(&self) {
        let mut members = lock(&self.members);
        members.catch_up();
        for handle in &members.handles {
            handle.interrupt_room(self.room);
        }
    }

    async fn hand_on(self: Arc<Self>) {
        loop {
            tokio::task::yield_now().await;
            let mut members = lock(&self.members);
            if !members.hand_next() {
                members.expected = false;
                return;
            }
        }
    }
}

impl Members {
    fn insert(&mut self, handle: &Arc<Handle>) {
        // Members change places only while all slices are at the same.
        self.catch_up();
        if let Entry::Vacant(place) = self.places.entry(handle.identity().conn) {
            place.insert(self.handles.len());
            self.handles.push(Arc::clone(handle));
            self.handed
                .resize(self.handles.len().div_ceil(SLICE), self.first);
        }
    }

    fn remove(&mut self, conn: ConnId) -> bool {
        self.catch_up();
        let Some(place) = self.places.remove(&conn) else {
            return false;
        };
        self.handles.swap_remove(place);
        if let Some(moved) = self.handles.get(place) {
            self.places.insert(moved.identity().conn, place);
        }
        self.handed.truncate(self.handles.len().div_ceil(SLICE));
        true
    }

    /// Behind the last message.
    fn head(&self) -> u64 {
        self.first + self.waiting.len() as u64
    }

    /// Returns whether more may wait.
    fn push(&mut self, item: &Arc<RoomItem>) -> bool {
        self.bytes += item.envelope.weight();
        self.waiting.push_back(Arc::clone(item));
        self.waiting.len() < WAITING.0 && self.bytes < WAITING.1
    }

    /// Hands on all that waits.
    fn catch_up(&mut self) {
        while self.hand_next() {}
    }

    /// Hands what waits to the next slice that does not have it; `false` if there is none.
    fn hand_next(&mut self) -> bool {
        let head = self.head();
        let behind = |&(_, handed): &(usize, &u64)| *handed < head;
        let slices = || self.handed.iter().enumerate();
        let later = slices().skip(self.next).find(behind);
        let found = later.or_else(|| slices().find(behind));
        let Some((slice, &from)) = found else {
            self.forget(head);
            return false;
        };
        if (self.batches.0, self.batches.1) != (from, head) {
            let skip = usize::try_from(from - self.first).unwrap_or(usize::MAX);
            let items: Vec<_> = self.waiting.iter().skip(skip).cloned().collect();
            self.batches = (from, head, RoomBatch::of(&items));
        }
        let members = self.handles.iter().skip(slice * SLICE).take(SLICE);
        let mut pushes = 0;
        for handle in members {
            for batch in &self.batches.2 {
                handle.offer_room(batch);
                pushes += batch.items().len();
            }
        }
        self.hub.count_pushes(pushes);
        if let Some(handed) = self.handed.get_mut(slice) {
            *handed = head;
        }
        self.next = slice + 1;
        self.forget(self.handed.iter().copied().min().unwrap_or(head));
        true
    }

    /// Forgets what all slices were handed.
    fn forget(&mut self, upto: u64) {
        while self.first < upto
            && let Some(item) = self.waiting.pop_front()
        {
            self.first += 1;
            self.bytes -= item.envelope.weight();
        }
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
            self.batches = (0, 0, Vec::new());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "crowd_tests.rs"]
mod tests;
