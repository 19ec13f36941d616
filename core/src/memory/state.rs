//! State of inboxes, keys, jobs, groups, friends and events, and its lock.
//!
//! Changes that must become visible together are made under one hold of the lock. In-memory storage
//! needs no other transactions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::id::{Epoch, GroupId, UserId};
use crate::map::FastHashMap;
use crate::memory::entries::{Inbox, InboxRetention};
use crate::memory::friend_edge::FriendEdge;
use crate::memory::group_row::GroupRow;
use crate::memory::helpers::lock;
use crate::memory::job::FanoutJobs;
use crate::memory::key::IdempotencyKeys;
use crate::memory::outbox_queue::HookQueues;
use crate::store::Head;
use crate::time::TimeSource;

/// The storage engine behind `SeqStore`, `InboxStore`, `GroupStore`, `FriendStore` and
/// `OutboxStore`.
#[derive(Debug)]
pub(super) struct MemoryEngine {
    pub(super) clock: Arc<dyn TimeSource>,
    // A std mutex: every hold is a short computation (a batch has at most 5,000 entries), and none
    // spans an await.
    state: Mutex<EngineState>,
}

impl MemoryEngine {
    pub(super) fn new(clock: Arc<dyn TimeSource>, retention: InboxRetention) -> Self {
        Self {
            clock,
            state: Mutex::new(EngineState {
                epoch: Epoch::draw(),
                retention,
                inboxes: FastHashMap::default(),
                keys: IdempotencyKeys::default(),
                jobs: FanoutJobs::default(),
                groups: HashMap::new(),
                memberships: HashMap::new(),
                friends: HashMap::new(),
                outbox: HookQueues::default(),
                reserved: [0; 3],
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, EngineState> {
        lock(&self.state)
    }
}

/// All data that changes under one lock.
#[derive(Debug)]
pub(super) struct EngineState {
    /// Epoch of the present history (law 10).
    pub(super) epoch: Epoch,
    pub(super) retention: InboxRetention,
    pub(super) inboxes: FastHashMap<UserId, Inbox>,
    pub(super) keys: IdempotencyKeys,
    pub(super) jobs: FanoutJobs,
    pub(super) groups: HashMap<GroupId, GroupRow>,
    pub(super) memberships: HashMap<UserId, BTreeSet<GroupId>>,
    pub(super) friends: HashMap<UserId, BTreeMap<UserId, FriendEdge>>,
    pub(super) outbox: HookQueues,
    /// Last reserved number of each `IdScope`.
    pub(super) reserved: [u64; 3],
}

impl EngineState {
    pub(super) fn head(&self, user: UserId) -> Head {
        self.inboxes.get(&user).map(Inbox::head).unwrap_or_default()
    }
}
