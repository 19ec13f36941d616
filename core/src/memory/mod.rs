//! In-memory storage: the reference for every other backend, and the storage of embedded servers in
//! tests.
//!
//! Durable here means for the lifetime of the process. Nodes that share one [`StoreSet`] form a
//! cluster in memory. Inboxes, keys, jobs, groups, friends and events are one engine behind one lock
//! (`state`), because the seam follows the transaction; devices, accounts, push addresses, rooms and
//! routes are independent. [`MemoryRoom`] and [`MemoryRoute`] also serve an embedded engine, whose rooms and
//! routes live in its process.

mod account;
mod api_key;
mod append;
mod device;
mod entries;
mod friend;
mod friend_edge;
mod group;
mod group_row;
mod helpers;
mod inbox;
mod job;
mod jwt_user;
mod key;
mod outbox;
mod outbox_queue;
mod push_token;
mod room;
mod route;
mod seq;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use entries::InboxRetention;
pub use room::{MemoryRoom, RoomBounds};
pub use route::MemoryRoute;

use crate::store::StoreSet;
use crate::time::{SystemClock, TimeSource};

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
            outbox: Arc::clone(&engine) as _,
            friend: engine,
            room: Arc::new(MemoryRoom::new(Arc::clone(&self.clock), self.room)),
            route: Arc::new(MemoryRoute::new(self.lease)),
            device: Arc::new(device::MemoryDevices::default()),
            account: Arc::new(account::MemoryAccounts::default()),
            push_token: Arc::new(push_token::MemoryPushTokens::default()),
            api_key: Arc::new(api_key::MemoryApiKeys::default()),
            jwt_user: Arc::new(jwt_user::MemoryJwtUsers::default()),
        }
    }
}

/// Creates an empty set of stores with the default limits.
#[must_use]
pub fn stores() -> StoreSet {
    MemoryConfig::default().stores()
}
