//! Cases of `GroupStore`: groups, rosters and their versions.

use super::StoreFixture;
use super::helpers::{
    LATER, NOW, append, change, contents, found, group, last, message, roster, send, stored,
    to_group, together, user, users,
};
use crate::message::MessageReceiver;
use crate::store::{
    AppendOutcome, Group, GroupChange, GroupChangeOutcome, GroupEdit, Member, MemberEdit,
    MemberRole, NewGroup, RosterVersion, StoreErrorKind,
};

fn plain(n: u64) -> NewGroup {
    NewGroup {
        id: group(n),
        name: format!("group {n}"),
        avatar_url: String::new(),
        introduction: String::new(),
        extra: String::new(),
        members: vec![(user(1), MemberRole::Admin)],
        at: NOW,
    }
}

/// Names may hold any text (in gim, emoji and long names fail: X-9).
pub(super) async fn a_new_group_is_as_it_was_made(it: StoreFixture) {
    let s = &it.stores;
    let new = NewGroup {
        id: group(7),
        name: "łódź 😀 🇵🇱".into(),
        avatar_url: format!("https://example.org/{}", "a".repeat(200)),
        introduction: "two\nlines".into(),
        extra: "{\"k\":\"𝕏\"}".repeat(100),
        members: vec![(user(30), MemberRole::Member), (user(4), MemberRole::Admin)],
        at: NOW,
    };
    s.group.create(&new, &[]).await.unwrap();
    let want = Group {
        id: new.id,
        name: new.name,
        avatar_url: new.avatar_url,
        introduction: new.introduction,
        extra: new.extra,
        members: 2,
        version: RosterVersion(1),
        created_at: NOW,
        updated_at: NOW,
    };
    assert_eq!(s.group.get(group(7)).await.unwrap(), Some(want));
    let roster = roster(s, group(7)).await;
    assert_eq!(roster.version, RosterVersion(1));
    assert_eq!(
        *roster.members,
        [(user(4), MemberRole::Admin), (user(30), MemberRole::Member)]
    );
}

/// A missing group is an answer, not an error.
pub(super) async fn a_missing_group_is_none(it: StoreFixture) {
    let s = &it.stores;
    assert_eq!(s.group.get(group(1)).await.unwrap(), None);
    assert_eq!(s.group.roster(group(1)).await.unwrap(), None);
    let members = s.group.members(group(1), None, 10).await.unwrap();
    assert!(members.items.is_empty() && !members.more);
    let groups = s.group.groups_of(user(1), None, 10).await.unwrap();
    assert!(groups.items.is_empty() && !groups.more);
    let edit = GroupChange::Edit(GroupEdit::default());
    let changed = s
        .group
        .update(group(1), RosterVersion(1), &edit, &[], &[], NOW)
        .await
        .unwrap();
    assert_eq!(changed, GroupChangeOutcome::Stale);
    let mut lost = send(&[user(1)], "hi");
    lost.roster = Some((group(1), RosterVersion(1)));
    assert_eq!(append(s, lost).await, AppendOutcome::Stale);
    assert_eq!(last(s, user(1)).await, 0);
}

pub(super) async fn a_taken_id_is_misuse(it: StoreFixture) {
    let s = &it.stores;
    s.group.create(&plain(1), &[]).await.unwrap();
    let mut other = plain(1);
    other.name = "another".into();
    other.members.push((user(9), MemberRole::Member));
    let refused = s.group.create(&other, &[]).await.unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::Misuse);
    assert_eq!(
        s.group.get(group(1)).await.unwrap().unwrap().name,
        "group 1"
    );
    assert_eq!(roster(s, group(1)).await.members.len(), 1);
    assert!(
        s.group
            .groups_of(user(9), None, 9)
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

pub(super) async fn one_of_many_creations_wins(it: StoreFixture) {
    let s = it.stores;
    let made = together(16, |i| {
        let s = s.clone();
        async move {
            let mut new = plain(1);
            new.members = vec![(user(10 + i), MemberRole::Admin)];
            s.group
                .create(&new, &[])
                .await
                .map_err(|refused| refused.kind)
        }
    })
    .await;
    assert_eq!(made.iter().filter(|it| it.is_ok()).count(), 1);
    assert!(
        made.iter()
            .all(|it| matches!(it, Ok(()) | Err(StoreErrorKind::Misuse)))
    );
    let winner = made.iter().position(Result::is_ok).unwrap() as u64;
    assert_eq!(
        *roster(&s, group(1)).await.members,
        [(user(10 + winner), MemberRole::Admin)]
    );
    for i in 0..16 {
        let of = s.group.groups_of(user(10 + i), None, 9).await.unwrap();
        assert_eq!(of.items.len(), usize::from(i == winner));
    }
}

/// The largest allowed group.
pub(super) async fn ten_thousand_members_are_one_roster(it: StoreFixture) {
    let s = &it.stores;
    let plan = found(s, group(1), &users(1..=10_000)).await;
    assert_eq!(plan.members.len(), 10_000);
    assert!(plan.members.is_sorted_by_key(|(who, _)| *who));
    change(s, group(1), &GroupChange::Remove(user(5_000))).await;
    assert_eq!(s.group.get(group(1)).await.unwrap().unwrap().members, 9_999);
    let plan = roster(s, group(1)).await;
    let outcome = append(s, to_group(group(1), &plan, "hi")).await;
    assert!(matches!(outcome, AppendOutcome::Stored { job: true, .. }));
    assert_eq!(super::helpers::work(s, group(1)).await.len(), 9_998);
    let heads = s.seq.heads(&users(1..=10_000)).await.unwrap();
    assert_eq!(heads.iter().filter(|it| it.head.get() == 1).count(), 9_999);
    assert_eq!(heads[4_999].head.get(), 0);
}

pub(super) async fn members_are_paged_by_id(it: StoreFixture) {
    let s = &it.stores;
    let mut members: Vec<_> = (1..=25).map(|n| user(n * 3)).collect();
    members.reverse();
    found(s, group(1), &members).await;
    members.reverse();
    let (mut after, mut read) = (None, Vec::new());
    for (size, more) in [(10, true), (10, true), (5, false)] {
        let page = s.group.members(group(1), after, 10).await.unwrap();
        assert_eq!((page.items.len(), page.more), (size, more));
        read.extend(page.items.into_iter().map(|it| it.user));
        after = read.last().copied();
    }
    assert_eq!(read, members);
    let exact = s.group.members(group(1), None, 25).await.unwrap();
    assert!(!exact.more);
    // The cursor need not be a member.
    let page = s.group.members(group(1), Some(user(70)), 10).await.unwrap();
    assert_eq!(
        page.items
            .iter()
            .map(|it| it.user.get())
            .collect::<Vec<_>>(),
        [72, 75]
    );
}

pub(super) async fn the_groups_of_a_user_are_paged_by_id(it: StoreFixture) {
    let s = &it.stores;
    for n in [5, 3, 9, 1, 7, 300] {
        s.group.create(&plain(n), &[]).await.unwrap();
    }
    found(s, group(4), &[user(2)]).await;
    change(s, group(4), &GroupChange::Add(vec![user(1), user(3)])).await;
    found(s, group(8), &users(1..=2)).await;
    change(s, group(8), &GroupChange::Remove(user(1))).await;
    let (mut after, mut read) = (None, Vec::new());
    for more in [true, true, true, false] {
        let page = s.group.groups_of(user(1), after, 2).await.unwrap();
        assert_eq!(page.more, more);
        after = page.items.last().map(|it| it.id);
        read.extend(page.items);
    }
    let ids: Vec<_> = read.iter().map(|it| it.id.get()).collect();
    assert_eq!(ids, [1, 3, 4, 5, 7, 9, 300]);
    for found in read {
        assert_eq!(s.group.get(found.id).await.unwrap(), Some(found));
    }
}

/// gim never decrements the number of members. Here every change also raises the version by
/// one.
pub(super) async fn every_change_raises_the_version(it: StoreFixture) {
    let s = &it.stores;
    found(s, group(1), &users(1..=3)).await;
    let edit = MemberEdit {
        role: Some(MemberRole::Admin),
        ..MemberEdit::default()
    };
    let plan = [
        (GroupChange::Add(users(4..=6)), 6),
        (GroupChange::Remove(user(2)), 5),
        (GroupChange::Edit(GroupEdit::default()), 5),
        (GroupChange::EditMember(user(3), edit), 5),
        (GroupChange::Add(vec![user(2)]), 6),
    ];
    for (n, (change, members)) in plan.iter().enumerate() {
        let expected = RosterVersion(n as u64 + 1);
        let changed = s
            .group
            .update(group(1), expected, change, &[], &[], LATER)
            .await
            .unwrap();
        let want = GroupChangeOutcome::Done {
            version: RosterVersion(n as u64 + 2),
            pushes: Vec::new(),
        };
        assert_eq!(changed, want);
        let now = s.group.get(group(1)).await.unwrap().unwrap();
        assert_eq!((now.version.0, now.members), (n as u64 + 2, *members));
        assert_eq!((now.created_at, now.updated_at), (NOW, LATER));
    }
    let roster = roster(s, group(1)).await;
    assert_eq!(roster.role(user(3)), Some(MemberRole::Admin));
    assert_eq!(
        roster.role(user(2)),
        Some(MemberRole::Member),
        "a member that rejoins has the plain role"
    );
}

/// fields that an older client does not send are kept.
pub(super) async fn an_edit_leaves_unset_fields(it: StoreFixture) {
    let s = &it.stores;
    found(s, group(1), &users(1..=2)).await;
    let full = GroupEdit {
        name: Some("name".into()),
        avatar_url: Some("avatar".into()),
        introduction: Some("😀".into()),
        extra: Some("extra".into()),
    };
    change(s, group(1), &GroupChange::Edit(full)).await;
    let less = GroupEdit {
        name: Some("other".into()),
        extra: Some(String::new()),
        ..GroupEdit::default()
    };
    change(s, group(1), &GroupChange::Edit(less)).await;
    let now = s.group.get(group(1)).await.unwrap().unwrap();
    let texts = [now.name, now.avatar_url, now.introduction, now.extra];
    assert_eq!(texts, ["other", "avatar", "😀", ""]);

    for edit in [
        MemberEdit {
            remarks: Some("😀".into()),
            extra: Some("extra".into()),
            role: None,
        },
        MemberEdit {
            role: Some(MemberRole::Admin),
            ..MemberEdit::default()
        },
    ] {
        change(s, group(1), &GroupChange::EditMember(user(2), edit)).await;
    }
    let members = s
        .group
        .members(group(1), Some(user(1)), 9)
        .await
        .unwrap()
        .items;
    let want = Member {
        user: user(2),
        role: MemberRole::Admin,
        remarks: "😀".into(),
        extra: "extra".into(),
    };
    assert_eq!(members, [want]);
}

pub(super) async fn a_change_comes_with_its_pushes(it: StoreFixture) {
    let s = &it.stores;
    found(s, group(1), &users(1..=3)).await;
    let pushes = [send(&users(1..=4), "added"), send(&[user(4)], "welcome")];
    let add = GroupChange::Add(vec![user(4)]);
    let changed = s
        .group
        .update(group(1), RosterVersion(1), &add, &pushes, &[], NOW)
        .await
        .unwrap();
    let GroupChangeOutcome::Done { pushes, .. } = changed else {
        panic!("{changed:?}");
    };
    assert_eq!(pushes.len(), 2);
    assert_eq!(stored(pushes[0].clone()).len(), 4);
    assert_eq!(contents(s, user(4)).await, ["added", "welcome"]);
    assert_eq!(contents(s, user(1)).await, ["added"]);
}

/// A change that was planned with another roster changes nothing and pushes nothing.
pub(super) async fn a_stale_change_changes_nothing(it: StoreFixture) {
    let s = &it.stores;
    found(s, group(1), &users(1..=3)).await;
    change(s, group(1), &GroupChange::Remove(user(3))).await;
    let before = s.group.get(group(1)).await.unwrap();
    let pushes = [send(&users(1..=3), "no")];
    for version in [0, 1, 3] {
        let add = GroupChange::Add(vec![user(4)]);
        let version = RosterVersion(version);
        let changed = s
            .group
            .update(group(1), version, &add, &pushes, &[], LATER)
            .await
            .unwrap();
        assert_eq!(changed, GroupChangeOutcome::Stale);
    }
    assert_eq!(s.group.get(group(1)).await.unwrap(), before);
    assert_eq!(last(s, user(1)).await, 0);
}

/// A change with an invalid push is refused as a whole.
pub(super) async fn a_wrong_push_stops_its_change(it: StoreFixture) {
    let s = &it.stores;
    let before = found(s, group(1), &users(1..=3)).await;
    let add = GroupChange::Add(vec![user(4)]);
    let pushes = [send(&users(1..=3), "added"), send(&[], "to nobody")];
    let refused = s
        .group
        .update(group(1), RosterVersion(1), &add, &pushes, &[], NOW)
        .await;
    assert_eq!(refused.unwrap_err().kind, StoreErrorKind::Misuse);
    assert_eq!(roster(s, group(1)).await, before);
    assert_eq!(last(s, user(1)).await, 0);
}

/// gim loses concurrent updates. Here one change of each version wins, and the others are
/// planned again.
pub(super) async fn changes_at_once_are_all_made(it: StoreFixture) {
    let s = it.stores;
    found(&s, group(1), &[user(1)]).await;
    together(32, |i| {
        let s = s.clone();
        async move {
            loop {
                let version = roster(&s, group(1)).await.version;
                let add = GroupChange::Add(vec![user(100 + i)]);
                let pushes = [send(&[user(1)], format!("{}", version.0))];
                let changed = s
                    .group
                    .update(group(1), version, &add, &pushes, &[], NOW)
                    .await;
                if let GroupChangeOutcome::Done { .. } = changed.unwrap() {
                    return;
                }
            }
        }
    })
    .await;
    let now = s.group.get(group(1)).await.unwrap().unwrap();
    assert_eq!((now.version.0, now.members), (33, 33));
    let want: Vec<_> = (1..=32).map(|n| n.to_string()).collect();
    assert_eq!(
        contents(&s, user(1)).await,
        want,
        "one push for each change"
    );
}

/// Law 11: the append compares the roster that a send was planned with, and refuses only the stale
/// send.
pub(super) async fn a_stale_send_is_refused_alone(it: StoreFixture) {
    let s = &it.stores;
    let old = found(s, group(1), &users(1..=4)).await;
    change(s, group(1), &GroupChange::Remove(user(4))).await;
    let new = roster(s, group(1)).await;
    let mut future = new.clone();
    future.version.0 += 1;
    let batch = [
        send(&[user(4)], "direct"),
        to_group(group(1), &old, "stale"),
        to_group(group(1), &new, "fresh"),
        to_group(group(1), &future, "stale"),
        send(&[user(1)], "direct"),
    ];
    let outcomes = s.inbox.append(&batch).await.unwrap();
    let stale: Vec<_> = outcomes
        .iter()
        .map(|it| *it == AppendOutcome::Stale)
        .collect();
    assert_eq!(stale, [false, true, false, true, false]);
    assert_eq!(contents(s, user(4)).await, ["direct"]);
    assert_eq!(contents(s, user(1)).await, ["fresh", "direct"]);
}

/// A push to a large group follows the same rules as a send to it.
pub(super) async fn a_push_to_a_large_group_is_a_job(it: StoreFixture) {
    let s = &it.stores;
    found(s, group(1), &users(1..=1_200)).await;
    let mut push = send(&users(1..=1_201), "");
    push.message = message(MessageReceiver::Group(group(1)), "added").into();
    let add = GroupChange::Add(vec![user(1_201)]);
    let changed = s
        .group
        .update(group(1), RosterVersion(1), &add, &[push], &[], NOW)
        .await
        .unwrap();
    let GroupChangeOutcome::Done { pushes, .. } = changed else {
        panic!("{changed:?}");
    };
    let [AppendOutcome::Stored { seqs, job: true }] = &pushes[..] else {
        panic!("{pushes:?}");
    };
    assert_eq!(seqs.len(), 1);
    assert_eq!(last(s, user(1_201)).await, 0);
    super::helpers::work(s, group(1)).await;
    assert_eq!(contents(s, user(1_201)).await, ["added"]);
}
