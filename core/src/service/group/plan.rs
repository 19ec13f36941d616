//! The rules of groups as pure functions: the rights of members and admins.
//!
//! A member may send, read, invite, set its own name and data in the group, and leave; all other
//! changes need an admin. A group with members always has an admin.

use std::collections::BTreeSet;

use crate::error::RequestRefusal;
use crate::id::{GroupId, UserId};
use crate::store::{GroupChange, GroupEdit, MemberEdit, MemberRole, Roster};

/// Returns the caller's role; a caller that is not a member is refused.
pub(super) fn role(
    roster: &Roster,
    group: GroupId,
    caller: UserId,
) -> Result<MemberRole, RequestRefusal> {
    roster.role(caller).ok_or(RequestRefusal::NotInGroup(group))
}

/// Refuses more members than a group may have.
pub(super) fn within(members: usize, max: usize) -> Result<(), RequestRefusal> {
    if members <= max {
        return Ok(());
    }
    Err(RequestRefusal::Exhausted(format!(
        "the group would have {members} members; at most {max} are allowed"
    )))
}

fn admin(roster: &Roster, group: GroupId, caller: UserId) -> Result<(), RequestRefusal> {
    match role(roster, group, caller)? {
        MemberRole::Admin => Ok(()),
        MemberRole::Member => Err(RequestRefusal::Forbidden(
            "only an admin of the group may do this; ask one",
        )),
    }
}

/// Plans new fields of the group; needs an admin. Returns `None` if no field is set.
pub(super) fn edit(
    roster: &Roster,
    group: GroupId,
    caller: UserId,
    edit: &GroupEdit,
) -> Result<Option<GroupChange>, RequestRefusal> {
    admin(roster, group, caller)?;
    let changes = *edit != GroupEdit::default();
    Ok(changes.then(|| GroupChange::Edit(edit.clone())))
}

/// Splits `users` into new members and present members, both ascending and without repeats.
pub(super) fn add(
    roster: &Roster,
    group: GroupId,
    caller: UserId,
    users: &[UserId],
    max: usize,
) -> Result<(Vec<UserId>, Vec<UserId>), RequestRefusal> {
    role(roster, group, caller)?;
    let users: BTreeSet<UserId> = users.iter().copied().collect();
    let (already, new): (Vec<_>, Vec<_>) = users
        .into_iter()
        .partition(|user| roster.role(*user).is_some());
    if !new.is_empty() {
        within(roster.members.len() + new.len(), max)?;
    }
    Ok((new, already))
}

/// Plans the removal of a member, by itself or by an admin. Returns `None` if the user is not a
/// member.
pub(super) fn remove(
    roster: &Roster,
    group: GroupId,
    caller: UserId,
    user: UserId,
) -> Result<Option<GroupChange>, RequestRefusal> {
    if caller == user {
        role(roster, group, caller)?;
    } else {
        admin(roster, group, caller)?;
    }
    if roster.role(user).is_none() {
        return Ok(None);
    }
    if roster.is_last_admin(user) && roster.members.len() > 1 {
        return Err(RequestRefusal::Forbidden(
            "the last admin cannot leave while members remain; make another member admin first",
        ));
    }
    Ok(Some(GroupChange::Remove(user)))
}

/// Plans new fields of a member: its own remarks and data, or any field by an admin. Returns `None`
/// if no field changes.
pub(super) fn edit_member(
    roster: &Roster,
    group: GroupId,
    caller: UserId,
    user: UserId,
    edit: &MemberEdit,
) -> Result<Option<GroupChange>, RequestRefusal> {
    let present = role(roster, group, caller)?;
    let Some(before) = roster.role(user) else {
        return Err(RequestRefusal::bad(format!(
            "{user} is not a member of {group}; add it first"
        )));
    };
    let mut edit = edit.clone();
    // The present role, stated again, is not a change: legacy clients always state it.
    edit.role = edit.role.filter(|role| *role != before);
    if present != MemberRole::Admin && (caller != user || edit.role.is_some()) {
        admin(roster, group, caller)?;
    }
    if edit.role == Some(MemberRole::Member) && roster.is_last_admin(user) {
        return Err(RequestRefusal::Forbidden(
            "the last admin cannot become a member; make another member admin first",
        ));
    }
    let changes = edit != MemberEdit::default();
    Ok(changes.then_some(GroupChange::EditMember(user, edit)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RosterVersion;

    fn user(n: u64) -> UserId {
        UserId::new(n).unwrap()
    }

    fn group() -> GroupId {
        GroupId::new(9).unwrap()
    }

    /// A roster with the admin 1 and the members 2 and 3.
    fn roster() -> Roster {
        let members = [
            (user(1), MemberRole::Admin),
            (user(2), MemberRole::Member),
            (user(3), MemberRole::Member),
        ];
        Roster {
            version: RosterVersion(1),
            members: members.into(),
        }
    }

    fn code<T: std::fmt::Debug>(answer: Result<T, RequestRefusal>) -> i32 {
        answer.unwrap_err().code()
    }

    #[test]
    fn a_stranger_may_do_nothing() {
        let (roster, group, who) = (roster(), group(), user(8));
        assert_eq!(
            code(edit(&roster, group, who, &GroupEdit::default())),
            10011
        );
        assert_eq!(code(add(&roster, group, who, &[user(4)], 10)), 10011);
        assert_eq!(code(remove(&roster, group, who, user(2))), 10011);
        assert_eq!(code(remove(&roster, group, who, who)), 10011);
        let own = MemberEdit::default();
        assert_eq!(code(edit_member(&roster, group, who, who, &own)), 10011);
    }

    #[test]
    fn a_member_invites_and_leaves_and_no_more() {
        let (roster, group, who) = (roster(), group(), user(2));
        let (new, already) = add(&roster, group, who, &[user(4), user(3), user(4)], 4).unwrap();
        assert_eq!((new, already), (vec![user(4)], vec![user(3)]));
        assert_eq!(
            remove(&roster, group, who, who),
            Ok(Some(GroupChange::Remove(who)))
        );
        assert_eq!(code(remove(&roster, group, who, user(3))), 7);
        assert_eq!(code(edit(&roster, group, who, &GroupEdit::default())), 7);
    }

    #[test]
    fn a_member_names_itself_but_raises_nobody() {
        let (roster, group, who) = (roster(), group(), user(2));
        let named = MemberEdit {
            role: Some(MemberRole::Member),
            remarks: Some("me".into()),
            extra: None,
        };
        let change = edit_member(&roster, group, who, who, &named).unwrap();
        let kept = MemberEdit {
            role: None,
            ..named.clone()
        };
        assert_eq!(change, Some(GroupChange::EditMember(who, kept)));
        assert_eq!(code(edit_member(&roster, group, who, user(3), &named)), 7);
        let raised = MemberEdit {
            role: Some(MemberRole::Admin),
            ..named
        };
        assert_eq!(code(edit_member(&roster, group, who, who, &raised)), 7);
    }

    #[test]
    fn the_last_admin_stays_while_members_remain() {
        let (full, group, who) = (roster(), group(), user(1));
        assert_eq!(code(remove(&full, group, who, who)), 7);
        let lowered = MemberEdit {
            role: Some(MemberRole::Member),
            ..MemberEdit::default()
        };
        assert_eq!(code(edit_member(&full, group, who, who, &lowered)), 7);
        let alone = Roster {
            members: [(who, MemberRole::Admin)].into(),
            ..full
        };
        assert!(remove(&alone, group, who, who).unwrap().is_some());
    }

    #[test]
    fn a_group_has_a_limit_and_removing_a_stranger_changes_nothing() {
        let (roster, group, who) = (roster(), group(), user(1));
        assert_eq!(code(add(&roster, group, who, &[user(4)], 3)), 8);
        assert!(add(&roster, group, who, &[user(2)], 1).is_ok());
        assert_eq!(remove(&roster, group, who, user(7)), Ok(None));
    }
}
