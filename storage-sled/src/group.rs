//! Groups and their rosters.

use async_trait::async_trait;
use gimlet_core::id::{GroupId, UserId};
use gimlet_core::page::Page;
use gimlet_core::store::{
    Append, Changed, Group, GroupChange, GroupEdit, GroupStore, Member, MemberEdit, NewGroup, Role,
    Roster, RosterVersion, StoreError,
};
use gimlet_core::time::Timestamp;
use gimlet_proto::store;

use crate::append::append;
use crate::error::Fault;
use crate::rows::Rows;
use crate::store::{Store, page, set};
use crate::txn::Txn;
use crate::writer::Weight;
use crate::{key, record};

fn row(rows: &Rows<'_>, group: GroupId) -> Result<Option<store::Group>, Fault> {
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
        created_at: Timestamp(row.created_ms),
        updated_at: Timestamp(row.updated_ms),
    }
}

const fn role(row: &store::Member) -> Role {
    if row.admin { Role::Admin } else { Role::Member }
}

fn join(txn: &mut Txn<'_>, group: GroupId, user: UserId, role: Role) -> Result<(), Fault> {
    let row = store::Member {
        admin: role == Role::Admin,
        ..store::Member::default()
    };
    txn.put(&key::member(group, user), &row)?;
    txn.mark(&key::group_of(user, group))
}

fn create(txn: &mut Txn<'_>, new: &NewGroup) -> Result<(), Fault> {
    if txn.has(&key::group(new.id))? {
        return Err(Fault::Misuse("the group's id is taken"));
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
    txn: &mut Txn<'_>,
    id: GroupId,
    row: &mut store::Group,
    change: &GroupChange,
) -> Result<(), Fault> {
    let unfit = Fault::Misuse("the change does not fit the roster of the version it names");
    match change {
        GroupChange::Edit(edit) => edit_group(row, edit),
        GroupChange::Add(users) => {
            for user in users {
                if txn.has(&key::member(id, *user))? {
                    return Err(unfit);
                }
                join(txn, id, *user, Role::Member)?;
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
        row.admin = role == Role::Admin;
    }
    set(&mut row.remarks, edit.remarks.as_deref());
    set(&mut row.extra, edit.extra.as_deref());
}

fn update(
    txn: &mut Txn<'_>,
    id: GroupId,
    expected: RosterVersion,
    change: &GroupChange,
    pushes: &[Append],
    at: Timestamp,
) -> Result<Changed, Fault> {
    // Compared and raised in one transaction: of two changes planned with one version only the
    // first one is made.
    let Some(mut row) = row(&txn.rows(), id)?.filter(|it| it.version == expected.0) else {
        return Ok(Changed::Stale);
    };
    apply(txn, id, &mut row, change)?;
    row.version += 1;
    row.updated_ms = record::ms(at);
    txn.put(&key::group(id), &row)?;
    Ok(Changed::Done {
        version: RosterVersion(row.version),
        pushes: append(txn, pushes)?,
    })
}

fn roster(rows: &Rows<'_>, id: GroupId) -> Result<Option<Roster>, Fault> {
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
        members: members.collect::<Result<_, Fault>>()?,
    }))
}

#[async_trait]
impl GroupStore for Store {
    async fn create(&self, group: &NewGroup) -> Result<(), StoreError> {
        let new = group.clone();
        let create = move |txn: &mut Txn<'_>| create(txn, &new);
        self.change("group.create", Weight::Adds, create).await
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
    ) -> Result<Page<Member>, StoreError> {
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
    ) -> Result<Page<Group>, StoreError> {
        let read = self.read("group.groups_of", move |rows| {
            let behind = after.map(|group| key::group_of(user, group));
            let behind = behind.as_ref().map(<[u8; 17]>::as_slice);
            let groups = rows.scan(&key::groups_of(user), behind).map(|found| {
                let id = record::key_group(&found?.0)?;
                let row =
                    row(rows, id)?.ok_or(Fault::Corrupt("a member's group does not exist"))?;
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
        pushes: &[Append],
        at: Timestamp,
    ) -> Result<Changed, StoreError> {
        Append::check("group.update", pushes)?;
        let (change, pushes) = (change.clone(), pushes.to_vec());
        let update = move |txn: &mut Txn<'_>| update(txn, group, expected, &change, &pushes, at);
        self.change("group.update", Weight::Adds, update).await
    }
}
