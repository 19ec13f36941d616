//! A group with its members, as in-memory storage keeps it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::id::UserId;
use crate::memory::helpers::set;
use crate::store::{
    Group, GroupChange, Member, MemberEdit, MemberRole, NewGroup, Roster, RosterVersion,
};
use crate::time::UnixTimestamp;

/// A group with its members.
#[derive(Debug)]
pub(super) struct GroupRow {
    pub(super) group: Group,
    pub(super) members: BTreeMap<UserId, Member>,
    /// Roster of the present version, built at its first use.
    roster: Option<Arc<[(UserId, MemberRole)]>>,
}

impl GroupRow {
    pub(super) fn new(new: &NewGroup) -> Self {
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

    pub(super) fn roster(&mut self) -> Roster {
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
    pub(super) fn apply(&mut self, change: &GroupChange, at: UnixTimestamp) {
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
    pub(super) fn fits(&self, change: &GroupChange) -> bool {
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
