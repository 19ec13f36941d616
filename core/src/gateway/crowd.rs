//! The members of one room on this node, and what is about to be handed to them.
//!
//! A message is handed on by a task of the crowd, in a pass over all members. What is published
//! before the pass begins goes along in it: each member is locked and woken once for all of that,
//! and writes it in one call of its socket, which is what a delivery costs. It waits for no
//! timer: the task lets those run who are ready to, then it begins.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::task::TaskTracker;

use crate::hub::{Handle, Hub};
use crate::id::{ConnId, RoomId};
use crate::room_batch::RoomBatch;
use crate::store::RoomItem;

/// Messages, and their bytes, that wait for a pass. Whoever brings more makes the pass.
const WAITING: (usize, usize) = (64, 64 * 1024);

/// How long a pass waits for a message behind the last one, for each member: a small part of what
/// handing it on takes. Longer where messages came together last, since bursts follow bursts.
const HASTY: Duration = Duration::from_nanos(30);
const PATIENT: Duration = Duration::from_nanos(250);

/// The longest that a pass waits, whatever comes.
const LONGEST: Duration = Duration::from_micros(500);

/// Passes in a row before others get their turn.
const PASSES: usize = 4;

/// One room's members.
#[derive(Debug)]
pub(super) struct Crowd {
    room: RoomId,
    hub: Arc<Hub>,
    tracker: TaskTracker,
    // Std mutexes: nothing is awaited under them. The order is members, waiting, a handle.
    members: Mutex<Members>,
    waiting: Mutex<Waiting>,
}

/// Dense, because a pass goes over all of them.
#[derive(Debug, Default)]
struct Members {
    handles: Vec<Arc<Handle>>,
    places: HashMap<ConnId, usize>,
}

#[derive(Debug, Default)]
struct Waiting {
    items: Vec<Arc<RoomItem>>,
    bytes: usize,
    /// Several came together last.
    burst: bool,
    /// A task is there that will make the pass.
    expected: bool,
}

impl Crowd {
    pub(super) fn new(room: RoomId, hub: Arc<Hub>, tracker: TaskTracker) -> Self {
        Self {
            room,
            hub,
            tracker,
            members: Mutex::default(),
            waiting: Mutex::default(),
        }
    }

    /// Adds a member; returns how many there are. It hears what is published from now on: what
    /// waits is for those who were there before.
    pub(super) fn enter(&self, handle: &Arc<Handle>) -> usize {
        let mut members = lock(&self.members);
        self.pass(&members);
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
        let mut waiting = lock(&self.waiting);
        waiting.bytes += item.envelope.weight();
        waiting.items.push(Arc::clone(item));
        let full = waiting.items.len() >= WAITING.0 || waiting.bytes >= WAITING.1;
        let expected = std::mem::replace(&mut waiting.expected, true);
        drop(waiting);
        if !expected {
            self.tracker.spawn(Arc::clone(self).pass_all());
        }
        if full {
            self.pass(&lock(&self.members));
        }
    }

    /// The feed has a hole behind what waits.
    pub(super) fn interrupted(&self) {
        let members = lock(&self.members);
        self.pass(&members);
        for handle in &members.handles {
            handle.interrupt_room(self.room);
        }
    }

    async fn pass_all(self: Arc<Self>) {
        loop {
            self.gather().await;
            // What came during a pass is handed on before the members run: many of them have not
            // written yet.
            for _ in 0..PASSES {
                if !self.pass(&lock(&self.members)) {
                    return;
                }
            }
        }
    }

    /// Lets those run who are ready to, as long as that brings more, and a little longer where a
    /// pass is long.
    #[expect(
        clippy::disallowed_methods,
        reason = "it looks on all the time: a paused clock would never end it"
    )]
    async fn gather(&self) {
        let members = u32::try_from(lock(&self.members).handles.len()).unwrap_or(u32::MAX);
        let each = if lock(&self.waiting).burst {
            PATIENT
        } else {
            HASTY
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
            if now - last >= patience || now - begun >= LONGEST {
                return;
            }
            // Whoever publishes may be another program that needs this core. This worker's other
            // tasks go to the next worker meanwhile, or wait.
            std::thread::yield_now();
        }
    }

    /// Hands on what waits; `false` if nothing did: the next message brings another task. Whoever
    /// calls it holds the members, so passes cannot overtake each other.
    fn pass(&self, members: &Members) -> bool {
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

impl Members {
    fn insert(&mut self, handle: &Arc<Handle>) {
        if let Entry::Vacant(place) = self.places.entry(handle.identity().conn) {
            place.insert(self.handles.len());
            self.handles.push(Arc::clone(handle));
        }
    }

    fn remove(&mut self, conn: ConnId) -> bool {
        let Some(place) = self.places.remove(&conn) else {
            return false;
        };
        self.handles.swap_remove(place);
        if let Some(moved) = self.handles.get(place) {
            self.places.insert(moved.identity().conn, place);
        }
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "crowd_tests.rs"]
mod tests;
