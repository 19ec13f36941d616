//! Rosters, remembered: a hint that every use checks against the version (law 11).

use std::sync::Arc;

use moka::future::Cache;

use crate::error::Refusal;
use crate::id::GroupId;
use crate::store::{GroupStore, Roster};

/// The cache, weighed in members.
#[derive(Clone, Debug)]
pub(super) struct Rosters {
    store: Arc<dyn GroupStore>,
    known: Cache<GroupId, Arc<Roster>>,
}

impl Rosters {
    pub(super) fn new(store: Arc<dyn GroupStore>, members: u64) -> Self {
        let known = Cache::builder()
            .max_capacity(members)
            .weigher(|_, roster: &Arc<Roster>| {
                u32::try_from(roster.members.len()).map_or(u32::MAX, |n| n.saturating_add(8))
            })
            .build();
        Self { store, known }
    }

    /// What is remembered, or else what the store says.
    pub(super) async fn get(&self, group: GroupId) -> Result<Arc<Roster>, Refusal> {
        match self.known.get(&group).await {
            Some(roster) => Ok(roster),
            None => self.load(group).await,
        }
    }

    /// What the store says; remembered from now on.
    pub(super) async fn load(&self, group: GroupId) -> Result<Arc<Roster>, Refusal> {
        let Some(roster) = self.store.roster(group).await? else {
            self.known.invalidate(&group).await;
            return Err(Refusal::NoSuchGroup(group));
        };
        let roster = Arc::new(roster);
        self.known.insert(group, Arc::clone(&roster)).await;
        Ok(roster)
    }

    /// The roster as it is now: what is remembered counts only if the group's version is the same.
    pub(super) async fn now(&self, group: GroupId) -> Result<Arc<Roster>, Refusal> {
        if let Some(roster) = self.known.get(&group).await {
            let version = self.store.get(group).await?.map(|group| group.version);
            if version == Some(roster.version) {
                return Ok(roster);
            }
        }
        self.load(group).await
    }

    /// Forgets a roster that has changed.
    pub(super) async fn forget(&self, group: GroupId) {
        self.known.invalidate(&group).await;
    }
}
