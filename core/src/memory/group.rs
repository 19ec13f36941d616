//! Groups and their rosters.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::id::{GroupId, UserId};
use crate::memory::state::{EngineState, MemoryEngine};
use crate::page::ListPage;
use crate::store::{
    AppendRequest, Group, GroupChange, GroupChangeOutcome, GroupStore, Member, MemberEdit,
    MemberRole, NewGroup, Roster, RosterVersion, StoreError, StoreErrorKind,
};
use crate::time::UnixTimestamp;

/// A group with its members.
#[derive(Debug)]
pub(super) struct GroupRow {
    pub(super) group: Group,
    members: BTreeMap<UserId, Member>,
    /// Roster of the present version, built at its first use.
    roster: Option<Arc<[(UserId, MemberRole)]>>,
}

impl GroupRow {
    fn new(new: &NewGroup) -> Self {
        let members: BTreeMap<_, _> = new
            .members
            .iter()
            .map(|(user, role)| (*user, member(*user, *role)))
            .collect();
        Self {
            group: Group {
                id: new.id,
                name: new.name.clone(),
                avatar_url: new.avatar_url.clone(),
                introduction: new.introduction.clone(),
                extra: new.extra.clone(),
                members: members.len() as u64,
                version: RosterVersion(1),
                created_at: new.at,
                updated_at: new.at,
            },
            members,
            roster: None,
        }
    }

    fn roster(&mut self) -> Roster {
        let members = self.roster.get_or_insert_with(|| {
            let ids = self.members.values().map(|it| (it.user, it.role));
            ids.collect()
        });
        Roster {
            version: self.group.version,
            members: Arc::clone(members),
        }
    }

    /// Applies a change, which must pass `fits`.
    fn apply(&mut self, change: &GroupChange, at: UnixTimestamp) {
        match change {
            GroupChange::Edit(edit) => {
                set(&mut self.group.name, edit.name.as_ref());
                set(&mut self.group.avatar_url, edit.avatar_url.as_ref());
                set(&mut self.group.introduction, edit.introduction.as_ref());
                set(&mut self.group.extra, edit.extra.as_ref());
            }
            GroupChange::Add(users) => {
                let new = users
                    .iter()
                    .map(|user| (*user, member(*user, MemberRole::Member)));
                self.members.extend(new);
            }
            GroupChange::Remove(user) => {
                self.members.remove(user);
            }
            GroupChange::EditMember(user, edit) => {
                if let Some(member) = self.members.get_mut(user) {
                    edit_member(member, edit);
                }
            }
        }
        self.group.members = self.members.len() as u64;
        self.group.version.0 += 1;
        self.group.updated_at = at;
        self.roster = None;
    }

    /// Returns whether the change is valid for the roster that it was planned with.
    fn fits(&self, change: &GroupChange) -> bool {
        match change {
            GroupChange::Edit(_) => true,
            GroupChange::Add(users) => !users.iter().any(|it| self.members.contains_key(it)),
            GroupChange::Remove(user) | GroupChange::EditMember(user, _) => {
                self.members.contains_key(user)
            }
        }
    }
}

fn member(user: UserId, role: MemberRole) -> Member {
    Member {
        user,
        role,
        remarks: String::new(),
        extra: String::new(),
    }
}

fn edit_member(member: &mut Member, edit: &MemberEdit) {
    member.role = edit.role.unwrap_or(member.role);
    set(&mut member.remarks, edit.remarks.as_ref());
    set(&mut member.extra, edit.extra.as_ref());
}

/// Sets a field if a value is given.
pub(super) fn set(field: &mut String, value: Option<&String>) {
    if let Some(value) = value {
        field.clone_from(value);
    }
}

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
    async fn create(&self, group: &NewGroup) -> Result<(), StoreError> {
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
        let members = row.members.range(super::above(after)).map(|(_, it)| it);
        Ok(super::page(members.cloned(), limit))
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
            .range(super::above(after))
            .filter_map(|id| state.groups.get(id).map(|it| it.group.clone()));
        Ok(super::page(groups, limit))
    }

    async fn update(
        &self,
        group: GroupId,
        expected: RosterVersion,
        change: &GroupChange,
        pushes: &[AppendRequest],
        at: UnixTimestamp,
    ) -> Result<GroupChangeOutcome, StoreError> {
        AppendRequest::check("group.update", pushes)?;
        let now = self.clock.monotonic();
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
        Ok(GroupChangeOutcome::Done { version, pushes })
    }
}
