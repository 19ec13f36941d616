//! Groups and their rosters.

use async_trait::async_trait;
use gimlet_core::events::NewEvent;
use gimlet_core::id::{GroupId, UserId};
use gimlet_core::page::ListPage;
use gimlet_core::store::{
    AppendRequest, Group, GroupChange, GroupChangeOutcome, GroupEdit, GroupStore, Member,
    MemberEdit, MemberRole, NewGroup, Roster, RosterVersion, StoreError,
};
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::store;

use crate::append::ChangeNotices;
use crate::error::EngineError;
use crate::rows::RowView;
use crate::space::SpaceEffect;
use crate::store::{SledStore, page, set};
use crate::txn::WriteTransaction;
use crate::{events, key, record};

fn row(rows: &RowView<'_>, group: GroupId) -> Result<Option<store::Group>, EngineError> {
    rows.get(&key::group(group))
}

fn group(id: GroupId, row: store::Group) -> Group {
    Group {
        id,
        name: row.name,
        avatar_url: row.avatar_url,
        introduction: row.introduction,
        extra: row.extra,
        members: row.members,
        version: RosterVersion(row.version),
        created_at: UnixTimestamp(row.created_ms),
        updated_at: UnixTimestamp(row.updated_ms),
    }
}

const fn role(row: &store::Member) -> MemberRole {
    if row.admin {
        MemberRole::Admin
    } else {
        MemberRole::Member
    }
}

fn join(
    txn: &mut WriteTransaction<'_>,
    group: GroupId,
    user: UserId,
    role: MemberRole,
) -> Result<(), EngineError> {
    let row = store::Member {
        admin: role == MemberRole::Admin,
        ..store::Member::default()
    };
    txn.put(&key::member(group, user), &row)?;
    txn.mark(&key::group_of(user, group))
}

fn create(txn: &mut WriteTransaction<'_>, new: &NewGroup) -> Result<(), EngineError> {
    if txn.has(&key::group(new.id))? {
        return Err(EngineError::Misuse("the group's id is taken"));
    }
    let mut members = 0;
    for (user, role) in &new.members {
        if !txn.has(&key::member(new.id, *user))? {
            members += 1;
        }
        join(txn, new.id, *user, *role)?;
    }
    let row = store::Group {
        name: new.name.clone(),
        avatar_url: new.avatar_url.clone(),
        introduction: new.introduction.clone(),
        extra: new.extra.clone(),
        members,
        version: 1,
        created_ms: record::ms(new.at),
        updated_ms: record::ms(new.at),
    };
    txn.put(&key::group(new.id), &row)
}

/// Makes a change that was planned with the current roster.
fn apply(
    txn: &mut WriteTransaction<'_>,
    id: GroupId,
    row: &mut store::Group,
    change: &GroupChange,
) -> Result<(), EngineError> {
    let unfit = EngineError::Misuse("the change does not fit the roster of the version it names");
    match change {
        GroupChange::Edit(edit) => edit_group(row, edit),
        GroupChange::Add(users) => {
            for user in users {
                if txn.has(&key::member(id, *user))? {
                    return Err(unfit);
                }
                join(txn, id, *user, MemberRole::Member)?;
                row.members += 1;
            }
        }
        GroupChange::Remove(user) => {
            if !txn.has(&key::member(id, *user))? {
                return Err(unfit);
            }
            txn.remove(&key::member(id, *user))?;
            txn.remove(&key::group_of(*user, id))?;
            row.members = row.members.saturating_sub(1);
        }
        GroupChange::EditMember(user, edit) => {
            let name = key::member(id, *user);
            let mut member: store::Member = txn.get(&name)?.ok_or(unfit)?;
            edit_member(&mut member, edit);
            txn.put(&name, &member)?;
        }
    }
    Ok(())
}

fn edit_group(row: &mut store::Group, edit: &GroupEdit) {
    set(&mut row.name, edit.name.as_deref());
    set(&mut row.avatar_url, edit.avatar_url.as_deref());
    set(&mut row.introduction, edit.introduction.as_deref());
    set(&mut row.extra, edit.extra.as_deref());
}

fn edit_member(row: &mut store::Member, edit: &MemberEdit) {
    if let Some(role) = edit.role {
        row.admin = role == MemberRole::Admin;
    }
    set(&mut row.remarks, edit.remarks.as_deref());
    set(&mut row.extra, edit.extra.as_deref());
}

fn update(
    txn: &mut WriteTransaction<'_>,
    id: GroupId,
    expected: RosterVersion,
    change: &GroupChange,
    notices: &ChangeNotices,
    at: UnixTimestamp,
) -> Result<GroupChangeOutcome, EngineError> {
    // Compared and raised in one transaction: of two changes planned with one version only the
    // first one is made.
    let Some(mut row) = row(&txn.rows(), id)?.filter(|it| it.version == expected.0) else {
        return Ok(GroupChangeOutcome::Stale);
    };
    apply(txn, id, &mut row, change)?;
    row.version += 1;
    row.updated_ms = record::ms(at);
    txn.put(&key::group(id), &row)?;
    Ok(GroupChangeOutcome::Done {
        version: RosterVersion(row.version),
        pushes: notices.store(txn)?,
    })
}

fn roster(rows: &RowView<'_>, id: GroupId) -> Result<Option<Roster>, EngineError> {
    let Some(row) = row(rows, id)? else {
        return Ok(None);
    };
    let members = rows.scan(&key::members(id), None).map(|found| {
        let (name, value) = found?;
        let member: store::Member = rows.decode(&name, &value)?;
        Ok((record::key_user(&name)?, role(&member)))
    });
    Ok(Some(Roster {
        version: RosterVersion(row.version),
        members: members.collect::<Result<_, EngineError>>()?,
    }))
}

#[async_trait]
impl GroupStore for SledStore {
    async fn create(&self, group: &NewGroup, events: &[NewEvent]) -> Result<(), StoreError> {
        let (new, events) = (group.clone(), events.to_vec());
        let create = move |txn: &mut WriteTransaction<'_>| {
            create(txn, &new)?;
            events::put(txn, &events)
        };
        self.change("group.create", SpaceEffect::Adds, create).await
    }

    async fn get(&self, id: GroupId) -> Result<Option<Group>, StoreError> {
        let read = self.read("group.get", move |rows| {
            Ok(row(rows, id)?.map(|row| group(id, row)))
        });
        read.await
    }

    async fn roster(&self, group: GroupId) -> Result<Option<Roster>, StoreError> {
        let read = self.read("group.roster", move |rows| roster(rows, group));
        read.await
    }

    async fn members(
        &self,
        group: GroupId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<ListPage<Member>, StoreError> {
        let read = self.read("group.members", move |rows| {
            let behind = after.map(|user| key::member(group, user));
            let behind = behind.as_ref().map(<[u8; 17]>::as_slice);
            let members = rows.scan(&key::members(group), behind).map(|found| {
                let (name, value) = found?;
                let row: store::Member = rows.decode(&name, &value)?;
                Ok(Member {
                    user: record::key_user(&name)?,
                    role: role(&row),
                    remarks: row.remarks,
                    extra: row.extra,
                })
            });
            page(members, limit)
        });
        read.await
    }

    async fn groups_of(
        &self,
        user: UserId,
        after: Option<GroupId>,
        limit: usize,
    ) -> Result<ListPage<Group>, StoreError> {
        let read = self.read("group.groups_of", move |rows| {
            let behind = after.map(|group| key::group_of(user, group));
            let behind = behind.as_ref().map(<[u8; 17]>::as_slice);
            let groups = rows.scan(&key::groups_of(user), behind).map(|found| {
                let id = record::key_group(&found?.0)?;
                let row = row(rows, id)?
                    .ok_or(EngineError::Corrupt("a member's group does not exist"))?;
                Ok(group(id, row))
            });
            page(groups, limit)
        });
        read.await
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
        let (change, notices) = (change.clone(), ChangeNotices::new(pushes, events));
        let update = move |txn: &mut WriteTransaction<'_>| {
            update(txn, group, expected, &change, &notices, at)
        };
        self.change("group.update", SpaceEffect::Adds, update).await
    }
}
