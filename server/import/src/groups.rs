//! Groups and their members.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use gimlet_core::id::{GroupId, UserId};
use gimlet_core::store::{
    GroupChange, GroupChangeOutcome, GroupStore, IdScope, MemberEdit, MemberRole, NewGroup,
    RosterVersion,
};
use gimlet_core::time::UnixTimestamp;

use crate::error::ImportError;
use crate::pass::{CONCURRENCY, ImportPass, times};
use crate::rows::{GroupRow, MemberRow};
use crate::target::ImportTarget;

/// gim's number of an admin.
const ADMIN: i64 = 1;
/// gim's numbers of a member; 0 since 2025-12, when its groups lost their admins.
const MEMBER: [i64; 2] = [2, 0];

/// A group that passed its checks, with its members.
struct CheckedGroup {
    id: GroupId,
    row: GroupRow,
    members: Vec<(UserId, MemberRole, MemberRow)>,
}

/// Imports all groups, with their ids.
pub(crate) async fn import(pass: &mut ImportPass<'_>) -> Result<(), ImportError> {
    if let Some(target) = pass.target {
        let last = pass.database.last_id("group").await?;
        target.seq.skip(IdScope::Group, last).await?;
    }
    let mut after = 0;
    loop {
        let rows = pass.database.groups(after).await?;
        let Some(last) = rows.last() else {
            return stray_members(pass).await;
        };
        after = last.id;
        pass.advance(rows.len())?;
        // A few rosters at a time: one has up to some 100,000 members.
        let mut groups = Vec::with_capacity(CONCURRENCY);
        for row in rows {
            let Some(id) = GroupId::new(row.id) else {
                let what = "its id is larger than an int64 carries";
                pass.findings
                    .note("group", format_args!("id {}", row.id), what)?;
                continue;
            };
            let members = members(pass, row.id).await?;
            pass.summary.groups += 1;
            pass.summary.members += members.len() as u64;
            groups.push(CheckedGroup { id, row, members });
            if groups.len() == CONCURRENCY {
                write_all(pass.target, std::mem::take(&mut groups)).await?;
            }
        }
        write_all(pass.target, groups).await?;
    }
}

async fn members(
    pass: &mut ImportPass<'_>,
    group: u64,
) -> Result<Vec<(UserId, MemberRole, MemberRow)>, ImportError> {
    let table = pass.database.schema().member_table;
    let rows = pass.database.members(group).await?;
    pass.advance(rows.len())?;
    let mut members = Vec::with_capacity(rows.len());
    for row in rows {
        match check(&row) {
            Ok((user, role)) => members.push((user, role, row)),
            Err(what) => {
                let key = format_args!("group_id {group}, user_id {}", row.user);
                pass.findings.note(table, key, what)?;
            }
        }
    }
    Ok(members)
}

fn check(row: &MemberRow) -> Result<(UserId, MemberRole), String> {
    let user = UserId::new(row.user).filter(|_| row.user_exists);
    let user = user.ok_or_else(|| format!("its user {} does not exist", row.user))?;
    let role = match row.role {
        ADMIN => MemberRole::Admin,
        other if MEMBER.contains(&other) => MemberRole::Member,
        other => return Err(format!("its role {other} is not 1 or 2")),
    };
    Ok((user, role))
}

/// Notes the members of groups that do not exist.
async fn stray_members(pass: &mut ImportPass<'_>) -> Result<(), ImportError> {
    let table = pass.database.schema().member_table;
    let mut after = (0, 0);
    loop {
        let rows = pass.database.stray_members(after).await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = *last;
        pass.advance(rows.len())?;
        for (group, user) in rows {
            let key = format_args!("group_id {group}, user_id {user}");
            pass.findings.note(table, key, "its group does not exist")?;
        }
    }
}

async fn write_all(
    target: Option<&ImportTarget>,
    groups: Vec<CheckedGroup>,
) -> Result<(), ImportError> {
    let Some(target) = target else {
        return Ok(());
    };
    let writes = groups
        .into_iter()
        .map(|group| write(Arc::clone(&target.group), group));
    let written = stream::iter(writes).buffer_unordered(CONCURRENCY);
    written.try_collect::<Vec<()>>().await?;
    Ok(())
}

async fn write(store: Arc<dyn GroupStore>, group: CheckedGroup) -> Result<(), ImportError> {
    let CheckedGroup { id, row, members } = group;
    let (created, updated) = times(row.times);
    let new = NewGroup {
        id,
        name: row.name,
        avatar_url: row.avatar_url,
        introduction: row.introduction,
        extra: row.extra,
        members: members
            .iter()
            .map(|(user, role, _)| (*user, *role))
            .collect(),
        at: created,
    };
    store.create(&new, &[]).await?;
    let mut version = RosterVersion(1);
    for (user, _, member) in members {
        if member.remarks.is_empty() && member.extra.is_empty() {
            continue;
        }
        let edit = MemberEdit {
            role: None,
            remarks: Some(member.remarks),
            extra: Some(member.extra),
        };
        version = edit_member(&*store, id, version, (user, edit), updated).await?;
    }
    Ok(())
}

async fn edit_member(
    store: &dyn GroupStore,
    id: GroupId,
    version: RosterVersion,
    (user, edit): (UserId, MemberEdit),
    at: UnixTimestamp,
) -> Result<RosterVersion, ImportError> {
    let change = GroupChange::EditMember(user, edit);
    match store.update(id, version, &change, &[], &[], at).await? {
        GroupChangeOutcome::Done { version, .. } => Ok(version),
        GroupChangeOutcome::Stale => Err(ImportError::GroupChanged(id.get())),
    }
}
