//! State of inboxes, keys, jobs, groups and friends, and its lock.
//!
//! Changes that must become visible together are made under one hold of the lock. In-memory storage
//! needs no other transactions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::id::{Epoch, GroupId, UserId};
use crate::map::Map;
use crate::memory::Retention;
use crate::memory::friend::Tie;
use crate::memory::group::GroupRow;
use crate::memory::inbox::Inbox;
use crate::memory::job::Jobs;
use crate::memory::key::Keys;
use crate::store::Head;
use crate::time::Clock;

/// The storage engine behind `SeqStore`, `InboxStore`, `GroupStore` and `FriendStore`.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) clock: Arc<dyn Clock>,
    // A std mutex: every hold is a short computation (a batch has at most 5,000 entries), and none
    // spans an await.
    state: Mutex<State>,
}

impl Engine {
    pub(super) fn new(clock: Arc<dyn Clock>, retention: Retention) -> Self {
        Self {
            clock,
            state: Mutex::new(State {
                epoch: Epoch::draw(),
                retention,
                inboxes: Map::default(),
                keys: Keys::default(),
                jobs: Jobs::default(),
                groups: HashMap::new(),
                memberships: HashMap::new(),
                friends: HashMap::new(),
                reserved: [0; 3],
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        super::lock(&self.state)
    }
}

/// All data that changes under one lock.
#[derive(Debug)]
pub(super) struct State {
    /// Epoch of the present history (law 10).
    pub(super) epoch: Epoch,
    pub(super) retention: Retention,
    pub(super) inboxes: Map<UserId, Inbox>,
    pub(super) keys: Keys,
    pub(super) jobs: Jobs,
    pub(super) groups: HashMap<GroupId, GroupRow>,
    pub(super) memberships: HashMap<UserId, BTreeSet<GroupId>>,
    pub(super) friends: HashMap<UserId, BTreeMap<UserId, Tie>>,
    /// Last reserved number of each `Scope`.
    pub(super) reserved: [u64; 3],
}

impl State {
    pub(super) fn head(&self, user: UserId) -> Head {
        self.inboxes.get(&user).map(Inbox::head).unwrap_or_default()
    }
}
