//! In-memory storage: the reference for every other backend, and the storage of embedded servers in
//! tests.
//!
//! Durable here means for the lifetime of the process. Nodes that share one [`StoreSet`] form a
//! cluster in memory. Inboxes, keys, jobs, groups and friends are one engine behind one lock
//! (`state`), because the seam follows the transaction; devices, accounts, rooms and routes are
//! independent. [`MemoryRoom`] and [`MemoryRoute`] also serve an embedded engine, whose rooms and
//! routes live in its process.

mod account;
mod append;
mod device;
mod friend;
mod group;
mod inbox;
mod job;
mod key;
mod room;
mod route;
mod seq;
mod state;
#[cfg(test)]
mod tests;

use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

pub use room::{MemoryRoom, RoomBounds};
pub use route::MemoryRoute;

use crate::page::ListPage;
use crate::store::StoreSet;
use crate::time::{SystemClock, TimeSource};

/// Limits of an inbox in memory; above them the oldest entries are removed and the floor rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboxRetention {
    /// Entries of one user; default 10,000.
    pub entries: usize,
    /// Bytes of one user's entries, each counted with its overhead; default 16 MiB. The newest
    /// entry is kept even if it is larger.
    pub bytes: usize,
}

impl Default for InboxRetention {
    fn default() -> Self {
        Self {
            entries: 10_000,
            bytes: 16 << 20,
        }
    }
}

/// Configuration of in-memory storage; [`MemoryConfig::default`] suits most uses.
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    /// Clock that determines the age of keys and room messages.
    pub clock: Arc<dyn TimeSource>,
    /// Limits of an inbox.
    pub retention: InboxRetention,
    /// Limits of the rooms.
    pub room: RoomBounds,
    /// Time after which a node's lease expires without a renewal; default 15 s.
    pub lease: Duration,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            retention: InboxRetention::default(),
            room: RoomBounds::default(),
            lease: MemoryRoute::LEASE,
        }
    }
}

impl MemoryConfig {
    /// Creates an empty set of stores with a new epoch.
    #[must_use]
    pub fn stores(&self) -> StoreSet {
        let engine = Arc::new(state::MemoryEngine::new(
            Arc::clone(&self.clock),
            self.retention,
        ));
        StoreSet {
            seq: Arc::clone(&engine) as _,
            inbox: Arc::clone(&engine) as _,
            group: Arc::clone(&engine) as _,
            friend: engine,
            room: Arc::new(MemoryRoom::new(Arc::clone(&self.clock), self.room)),
            route: Arc::new(MemoryRoute::new(self.lease)),
            device: Arc::new(device::MemoryDevices::default()),
            account: Arc::new(account::MemoryAccounts::default()),
        }
    }
}

/// Creates an empty set of stores with the default limits.
#[must_use]
pub fn stores() -> StoreSet {
    MemoryConfig::default().stores()
}

/// Takes a lock of this module. These are std mutexes and not tokio's, because each is held for a
/// short computation and never over an await.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics under this lock")
}

/// Takes a page of at most `limit` items (at least one) from an ordered list.
fn page<T>(items: impl Iterator<Item = T>, limit: usize) -> ListPage<T> {
    page_while(items, limit, |_| true)
}

/// Takes a page that also ends before the first item that does not fit.
fn page_while<T>(
    items: impl Iterator<Item = T>,
    limit: usize,
    mut fits: impl FnMut(&T) -> bool,
) -> ListPage<T> {
    let mut taken = Vec::new();
    for item in items {
        if taken.len() >= limit.max(1) || !fits(&item) {
            return ListPage {
                items: taken,
                more: true,
            };
        }
        taken.push(item);
    }
    ListPage::last(taken)
}

/// Returns the range of the ids after `after`.
fn above<T>(after: Option<T>) -> (Bound<T>, Bound<T>) {
    (
        after.map_or(Bound::Unbounded, Bound::Excluded),
        Bound::Unbounded,
    )
}
