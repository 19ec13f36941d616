//! Groups and their rosters. Every change of a group, and every send to it, locks the group's row.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use gimlet_core::events::NewEvent;
use gimlet_core::id::{GroupId, UserId};
use gimlet_core::page::ListPage;
use gimlet_core::store::{
    AppendRequest, Group, GroupChange, GroupChangeOutcome, GroupEdit, GroupStore, Member,
    MemberEdit, MemberRole, NewGroup, Roster, RosterVersion, StoreError,
};
use gimlet_core::time::UnixTimestamp;
use sqlx::mysql::MySqlRow;

use super::engine::{MysqlEngine, StatementEffect, WorkPace};
use super::events::put_events;
use super::session::{MysqlSession, group as group_id, number, text, time, user};
use super::{append, chunks};
use crate::error::EngineError;

/// Lists the columns of a group, as `read` reads them.
macro_rules! group_columns {
    () => {
        "g.group_id, g.name, g.avatar_url, g.introduction, g.extra, g.members, g.version, \
         g.created_at, g.updated_at"
    };
}

#[async_trait]
impl GroupStore for MysqlEngine {
    async fn create(&self, group: &NewGroup, events: &[NewEvent]) -> Result<(), StoreError> {
        let (group, events): (_, Arc<[NewEvent]>) = (Arc::new(group.clone()), events.into());
        self.change("group.create", WorkPace::Prompt, move |session| {
            let (group, events) = (Arc::clone(&group), Arc::clone(&events));
            async move {
                create(session, &group).await?;
                put_events(session, &events).await
            }
            .boxed()
        })
        .await
    }

    async fn get(&self, group: GroupId) -> Result<Option<Group>, StoreError> {
        self.once("group.get", StatementEffect::Read, move |session| {
            async move {
                let sql = concat!(
                    "SELECT ",
                    group_columns!(),
                    " FROM group_info g WHERE g.group_id = ?"
                );
                let row = session.row(sqlx::query(sql).bind(group.get())).await?;
                row.as_ref().map(read).transpose()
            }
            .boxed()
        })
        .await
    }

    async fn roster(&self, group: GroupId) -> Result<Option<Roster>, StoreError> {
        self.once("group.roster", StatementEffect::Read, move |session| {
            async move {
                // One statement reads members and version, so that both are from the same moment.
                let sql = "SELECT g.version, m.user_id, m.role FROM group_info g \
                           LEFT JOIN group_member m ON m.group_id = g.group_id \
                           WHERE g.group_id = ? ORDER BY m.user_id";
                let rows = session.rows(sqlx::query(sql).bind(group.get())).await?;
                let Some(first) = rows.first() else {
                    return Ok(None);
                };
                let version = RosterVersion(number(first, 0)?);
                let mut members = Vec::with_capacity(rows.len());
                for row in &rows {
                    if sqlx::Row::try_get::<Option<u64>, _>(row, 1)?.is_some() {
                        members.push((user(row, 1)?, role(row, 2)?));
                    }
                }
                Ok(Some(Roster {
                    version,
                    members: members.into(),
                }))
            }
            .boxed()
        })
        .await
    }

    async fn members(
        &self,
        group: GroupId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<ListPage<Member>, StoreError> {
        let (after, limit) = (after.map_or(0, UserId::get), limit.max(1));
        self.once("group.members", StatementEffect::Read, move |session| {
            async move {
                let sql = "SELECT user_id, role, remarks, extra FROM group_member \
                           WHERE group_id = ? AND user_id > ? ORDER BY user_id LIMIT ?";
                let select = sqlx::query(sql).bind(group.get()).bind(after);
                let rows = session.rows(select.bind(limit as u64 + 1)).await?;
                super::page(&rows, limit, |row| {
                    Ok(Member {
                        user: user(row, 0)?,
                        role: role(row, 1)?,
                        remarks: text(row, 2)?,
                        extra: text(row, 3)?,
                    })
                })
            }
            .boxed()
        })
        .await
    }

    async fn groups_of(
        &self,
        user: UserId,
        after: Option<GroupId>,
        limit: usize,
    ) -> Result<ListPage<Group>, StoreError> {
        let (after, limit) = (after.map_or(0, GroupId::get), limit.max(1));
        self.once("group.groups_of", StatementEffect::Read, move |session| {
            async move {
                let sql = concat!(
                    "SELECT ",
                    group_columns!(),
                    " FROM group_member m JOIN group_info g ON g.group_id = m.group_id \
                      WHERE m.user_id = ? AND m.group_id > ? ORDER BY m.group_id LIMIT ?"
                );
                let select = sqlx::query(sql).bind(user.get()).bind(after);
                let rows = session.rows(select.bind(limit as u64 + 1)).await?;
                super::page(&rows, limit, read)
            }
            .boxed()
        })
        .await
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
        let now = self.now();
        let (change, pushes): (_, Arc<[AppendRequest]>) = (Arc::new(change.clone()), pushes.into());
        let events: Arc<[NewEvent]> = events.into();
        self.change("group.update", WorkPace::Prompt, move |session| {
            let (change, pushes) = (Arc::clone(&change), Arc::clone(&pushes));
            let events = Arc::clone(&events);
            async move {
                // The group's row is locked before the heads of the pushes, in the order of
                // `append`.
                let sql = "SELECT version FROM group_info WHERE group_id = ? FOR UPDATE";
                let row = session.row(sqlx::query(sql).bind(group.get())).await?;
                let version = row.as_ref().map(|row| number(row, 0)).transpose()?;
                if version != Some(expected.0) {
                    return Ok(GroupChangeOutcome::Stale);
                }
                let added = apply(session, group, &change).await?;
                let sql = "UPDATE group_info SET version = version + 1, \
                           members = CAST(members AS SIGNED) + ?, updated_at = ? WHERE group_id = ?";
                let update = sqlx::query(sql).bind(added).bind(at.0).bind(group.get());
                session.run(update).await?;
                let pushes = append::append(session, &pushes, now).await?;
                put_events(session, &events).await?;
                Ok(GroupChangeOutcome::Done {
                    version: RosterVersion(expected.0 + 1),
                    pushes,
                })
            }
            .boxed()
        })
        .await
    }
}

/// Applies a change and returns the number of members that were added.
async fn apply(
    session: &mut MysqlSession,
    group: GroupId,
    change: &GroupChange,
) -> Result<i64, EngineError> {
    match change {
        GroupChange::Edit(edit) => edit_group(session, group, edit).await.map(|()| 0),
        GroupChange::Add(users) => {
            let members: Vec<_> = users.iter().map(|it| (*it, MemberRole::Member)).collect();
            put_members(session, group, &members)
                .await
                .map_err(|fault| {
                    if fault.is_duplicate() {
                        ROSTER_MISMATCH
                    } else {
                        fault
                    }
                })?;
            Ok(users.len().cast_signed() as i64)
        }
        GroupChange::Remove(user) => {
            let sql = "DELETE FROM group_member WHERE group_id = ? AND user_id = ?";
            let delete = sqlx::query(sql).bind(group.get()).bind(user.get());
            if session.run(delete).await?.rows_affected() == 0 {
                return Err(ROSTER_MISMATCH);
            }
            Ok(-1)
        }
        GroupChange::EditMember(user, edit) => {
            edit_member(session, group, *user, edit).await.map(|()| 0)
        }
    }
}

const ROSTER_MISMATCH: EngineError =
    EngineError::Misuse("the change does not fit the roster of the version it names");

async fn create(session: &mut MysqlSession, group: &NewGroup) -> Result<(), EngineError> {
    let sql = "INSERT INTO group_info (group_id, name, avatar_url, introduction, extra, members, \
               version, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?)";
    let insert = sqlx::query(sql)
        .bind(group.id.get())
        .bind(&group.name)
        .bind(&group.avatar_url)
        .bind(&group.introduction)
        .bind(&group.extra)
        .bind(group.members.len() as u64)
        .bind(group.at.0)
        .bind(group.at.0);
    let inserted = session.run(insert).await;
    inserted.map_err(|fault| {
        if fault.is_duplicate() {
            EngineError::Misuse("the group's id is taken")
        } else {
            fault
        }
    })?;
    put_members(session, group.id, &group.members).await
}

async fn put_members(
    session: &mut MysqlSession,
    group: GroupId,
    members: &[(UserId, MemberRole)],
) -> Result<(), EngineError> {
    let mut members = members.to_vec();
    members.sort_unstable_by_key(|(user, _)| *user);
    for chunk in chunks::unpadded_chunks(members.len(), usize::MAX, |_| 1) {
        let mut insert = sqlx::query(chunks::text(
            "INSERT INTO group_member (group_id, user_id, role, remarks, extra) VALUES ",
            "(?, ?, ?, '', '')",
            chunk.size(),
            "",
        ));
        for (at, _) in chunk.rows() {
            let (user, role) = members.get(at).expect("an index of these rows");
            insert = insert.bind(group.get()).bind(user.get()).bind(code(*role));
        }
        session.run(insert).await?;
    }
    Ok(())
}

async fn edit_group(
    session: &mut MysqlSession,
    group: GroupId,
    edit: &GroupEdit,
) -> Result<(), EngineError> {
    let sql = "UPDATE group_info SET name = COALESCE(?, name), \
               avatar_url = COALESCE(?, avatar_url), introduction = COALESCE(?, introduction), \
               extra = COALESCE(?, extra) WHERE group_id = ?";
    let update = sqlx::query(sql)
        .bind(&edit.name)
        .bind(&edit.avatar_url)
        .bind(&edit.introduction)
        .bind(&edit.extra)
        .bind(group.get());
    session.run(update).await?;
    Ok(())
}

async fn edit_member(
    session: &mut MysqlSession,
    group: GroupId,
    user: UserId,
    edit: &MemberEdit,
) -> Result<(), EngineError> {
    let sql = "UPDATE group_member SET role = COALESCE(?, role), \
               remarks = COALESCE(?, remarks), extra = COALESCE(?, extra) \
               WHERE group_id = ? AND user_id = ?";
    let update = sqlx::query(sql)
        .bind(edit.role.map(code))
        .bind(&edit.remarks)
        .bind(&edit.extra)
        .bind(group.get())
        .bind(user.get());
    // The server counts rows that were found, including those that stay as they were.
    if session.run(update).await?.rows_affected() == 0 {
        return Err(ROSTER_MISMATCH);
    }
    Ok(())
}

fn read(row: &MySqlRow) -> Result<Group, EngineError> {
    Ok(Group {
        id: group_id(row, 0)?,
        name: text(row, 1)?,
        avatar_url: text(row, 2)?,
        introduction: text(row, 3)?,
        extra: text(row, 4)?,
        members: number(row, 5)?,
        version: RosterVersion(number(row, 6)?),
        created_at: time(row, 7)?,
        updated_at: time(row, 8)?,
    })
}

fn code(role: MemberRole) -> u8 {
    match role {
        MemberRole::Admin => 1,
        MemberRole::Member => 2,
    }
}

fn role(row: &MySqlRow, at: usize) -> Result<MemberRole, EngineError> {
    match sqlx::Row::try_get::<u8, _>(row, at)? {
        1 => Ok(MemberRole::Admin),
        2 => Ok(MemberRole::Member),
        _ => Err(EngineError::Corrupt("a member has an unknown role")),
    }
}
