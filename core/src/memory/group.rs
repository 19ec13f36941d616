//! Groups and their rosters.

use async_trait::async_trait;

use crate::events::NewEvent;
use crate::id::{GroupId, UserId};
use crate::memory::group_row::GroupRow;
use crate::memory::helpers::{above, page};
use crate::memory::state::{EngineState, MemoryEngine};
use crate::page::ListPage;
use crate::store::{
    AppendRequest, Group, GroupChange, GroupChangeOutcome, GroupStore, Member, NewGroup, Roster,
    RosterVersion, StoreError, StoreErrorKind,
};
use crate::time::UnixTimestamp;

impl EngineState {
    /// Updates the index of the groups of each user after a change.
    fn index(&mut self, group: GroupId, change: &GroupChange) {
        match change {
            GroupChange::Add(users) => {
                for user in users {
                    self.memberships.entry(*user).or_default().insert(group);
                }
            }
            GroupChange::Remove(user) => {
                if let Some(groups) = self.memberships.get_mut(user) {
                    groups.remove(&group);
                    if groups.is_empty() {
                        self.memberships.remove(user);
                    }
                }
            }
            GroupChange::Edit(_) | GroupChange::EditMember(..) => {}
        }
    }
}

#[async_trait]
impl GroupStore for MemoryEngine {
    async fn create(&self, group: &NewGroup, events: &[NewEvent]) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.groups.contains_key(&group.id) {
            let text = "the group's id is taken";
            return Err(StoreError::with(
                "group.create",
                StoreErrorKind::Misuse,
                text,
            ));
        }
        for (user, _) in &group.members {
            state.memberships.entry(*user).or_default().insert(group.id);
        }
        state.groups.insert(group.id, GroupRow::new(group));
        state.outbox.put(events);
        Ok(())
    }

    async fn get(&self, group: GroupId) -> Result<Option<Group>, StoreError> {
        Ok(self.lock().groups.get(&group).map(|it| it.group.clone()))
    }

    async fn roster(&self, group: GroupId) -> Result<Option<Roster>, StoreError> {
        Ok(self.lock().groups.get_mut(&group).map(GroupRow::roster))
    }

    async fn members(
        &self,
        group: GroupId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<ListPage<Member>, StoreError> {
        let state = self.lock();
        let Some(row) = state.groups.get(&group) else {
            return Ok(ListPage::default());
        };
        let members = row.members.range(above(after)).map(|(_, it)| it);
        Ok(page(members.cloned(), limit))
    }

    async fn groups_of(
        &self,
        user: UserId,
        after: Option<GroupId>,
        limit: usize,
    ) -> Result<ListPage<Group>, StoreError> {
        let state = self.lock();
        let Some(ids) = state.memberships.get(&user) else {
            return Ok(ListPage::default());
        };
        let groups = ids
            .range(above(after))
            .filter_map(|id| state.groups.get(id).map(|it| it.group.clone()));
        Ok(page(groups, limit))
    }

    async fn update(
        &self,
        group: GroupId,
        expected: RosterVersion,
        change: &GroupChange,
        pushes: &[AppendRequest],
        events: &[NewEvent],
        at: UnixTimestamp,
    ) -> Result<GroupChangeOutcome, StoreError> {
        AppendRequest::check("group.update", pushes)?;
        let now = self.append_time();
        let mut state = self.lock();
        let Some(row) = state.groups.get_mut(&group) else {
            return Ok(GroupChangeOutcome::Stale);
        };
        if row.group.version != expected {
            return Ok(GroupChangeOutcome::Stale);
        }
        if !row.fits(change) {
            let text = "the change does not fit the roster of the version it names";
            return Err(StoreError::with(
                "group.update",
                StoreErrorKind::Misuse,
                text,
            ));
        }
        row.apply(change, at);
        let version = row.group.version;
        state.index(group, change);
        let pushes = state.append(pushes, now);
        state.outbox.put(events);
        Ok(GroupChangeOutcome::Done { version, pushes })
    }
}
