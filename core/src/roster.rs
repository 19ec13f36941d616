//! Cached rosters. A cached roster is a hint: every use compares its version with the store (law
//! 11).

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use moka::future::Cache;

use crate::error::RequestRefusal;
use crate::id::{GroupId, UserId};
use crate::message::MessageSender;
use crate::store::{GroupStore, Roster};

/// Largest number of recipient lists kept with a roster, one for each recent sender.
const MAX_RECIPIENT_LISTS: usize = 4;

/// A recipient list, with the sender for which it was made.
type RecipientList = (Option<UserId>, Arc<[UserId]>);

/// A cached roster with its recipient lists.
#[derive(Debug)]
pub(crate) struct CachedRoster {
    roster: Roster,
    /// A std mutex: it is held only for a lookup, or while one list is made.
    lists: Mutex<VecDeque<RecipientList>>,
}

impl Deref for CachedRoster {
    type Target = Roster;

    fn deref(&self) -> &Roster {
        &self.roster
    }
}

impl CachedRoster {
    pub(crate) fn new(roster: Roster) -> Self {
        Self {
            roster,
            lists: Mutex::default(),
        }
    }

    /// Returns the recipients of a send to this group: all members, the sender first. Refuses a
    /// user that is not a member.
    pub(crate) fn plan(
        &self,
        sender: MessageSender,
        group: GroupId,
    ) -> Result<Arc<[UserId]>, RequestRefusal> {
        let user = sender.user();
        if user.is_some_and(|user| self.role(user).is_none()) {
            return Err(RequestRefusal::NotInGroup(group));
        }
        Ok(self.recipients(user))
    }

    /// Returns all members, the sender first. The list is shared by the sender's sends until the
    /// roster changes: a list for each send would cost more than the rest of a send to a large
    /// group.
    pub(crate) fn recipients(&self, sender: Option<UserId>) -> Arc<[UserId]> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, list)) = lists.iter().find(|(of, _)| *of == sender) {
            return Arc::clone(list);
        }
        let members = self.roster.members.iter().map(|(user, _)| *user);
        let others = members.filter(|member| Some(*member) != sender);
        let list: Arc<[UserId]> = sender.into_iter().chain(others).collect();
        if lists.len() >= MAX_RECIPIENT_LISTS {
            lists.pop_front();
        }
        lists.push_back((sender, Arc::clone(&list)));
        list
    }
}

/// The roster cache, sized in members.
#[derive(Clone, Debug)]
pub(crate) struct RosterCache {
    store: Arc<dyn GroupStore>,
    known: Cache<GroupId, Arc<CachedRoster>>,
}

impl RosterCache {
    pub(crate) fn new(store: Arc<dyn GroupStore>, members: u64) -> Self {
        let known = Cache::builder()
            .max_capacity(members)
            .weigher(|_, roster: &Arc<CachedRoster>| {
                u32::try_from(roster.members.len()).map_or(u32::MAX, |n| n.saturating_add(8))
            })
            .build();
        Self { store, known }
    }

    /// Returns the cached roster, or loads it. It may be out of date: the append checks its
    /// version.
    pub(crate) async fn get(&self, group: GroupId) -> Result<Arc<CachedRoster>, RequestRefusal> {
        match self.known.get(&group).await {
            Some(roster) => Ok(roster),
            None => self.load(group).await,
        }
    }

    /// Loads the roster from the store and caches it.
    pub(crate) async fn load(&self, group: GroupId) -> Result<Arc<CachedRoster>, RequestRefusal> {
        let Some(roster) = self.store.roster(group).await? else {
            self.known.invalidate(&group).await;
            return Err(RequestRefusal::NoSuchGroup(group));
        };
        let roster = Arc::new(CachedRoster::new(roster));
        // A load that overlaps a change may cache the old roster. The append's version check finds
        // it, and the batch writer then loads the roster again.
        self.known.insert(group, Arc::clone(&roster)).await;
        Ok(roster)
    }

    /// Returns the current roster: a cached one is used only if the group still has its version.
    pub(crate) async fn now(&self, group: GroupId) -> Result<Arc<CachedRoster>, RequestRefusal> {
        if let Some(roster) = self.known.get(&group).await {
            let version = self.store.get(group).await?.map(|group| group.version);
            if version == Some(roster.version) {
                return Ok(roster);
            }
        }
        self.load(group).await
    }

    /// Removes a roster that has changed from the cache.
    pub(crate) async fn forget(&self, group: GroupId) {
        self.known.invalidate(&group).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemberRole, RosterVersion};

    #[test]
    fn a_senders_sends_share_one_list() {
        let user = |n| UserId::new(n).unwrap();
        let known = CachedRoster::new(Roster {
            version: RosterVersion(1),
            members: (1..=3).map(|n| (user(n), MemberRole::Member)).collect(),
        });
        let list = known.recipients(Some(user(2)));
        assert_eq!(*list, [user(2), user(1), user(3)]);
        assert!(Arc::ptr_eq(&list, &known.recipients(Some(user(2)))));
        assert_eq!(*known.recipients(None), [user(1), user(2), user(3)]);
        for n in 10..20 {
            known.recipients(Some(user(n)));
        }
        assert_eq!(known.lists.lock().unwrap().len(), MAX_RECIPIENT_LISTS);
    }
}
