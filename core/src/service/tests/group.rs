//! Groups: their rules, their pushes, and the recipients around a change.

use super::*;
use crate::store::{GroupEdit, MemberEdit, MemberRole};

#[tokio::test]
async fn x3_repeats_and_the_creator_among_the_members_are_folded() {
    let world = service_fixture();
    let draft = GroupDraft {
        name: "g".into(),
        members: vec![user(2), user(1), user(2)],
        ..GroupDraft::default()
    };
    let group = world.service.create_group(user(1), draft).await.unwrap();
    let members = world
        .service
        .members(user(2), group, None, 500)
        .await
        .unwrap()
        .items;
    let roles: Vec<_> = members
        .iter()
        .map(|(m, _)| (m.user.get(), m.role))
        .collect();
    assert_eq!(roles, [(1, MemberRole::Admin), (2, MemberRole::Member)]);
    let names: Vec<_> = members
        .iter()
        .map(|(_, info)| info.as_ref().unwrap().profile.nickname.clone())
        .collect();
    assert_eq!(names, ["name1", "name2"]);
    assert_eq!(
        world.service.group(user(1), group).await.unwrap().members,
        2
    );
    assert!(world.inbox(2).await.is_empty());
}

#[tokio::test]
async fn a_group_of_unknown_users_or_too_many_is_not_made() {
    let limits = Limits {
        group_members: 2,
        ..Limits::default()
    };
    let world = service_fixture_with(memory::stores(), limits, ServerPolicy::default());
    let make = |members: Vec<UserId>| {
        let draft = GroupDraft {
            members,
            ..GroupDraft::default()
        };
        world.service.create_group(user(1), draft)
    };
    let unknown = make(vec![user(9_999)]).await;
    assert_eq!(unknown, Err(RequestRefusal::NoSuchUser(user(9_999))));
    let refusal = make(vec![user(2), user(3)]).await.unwrap_err();
    assert_eq!(refusal.code(), 8);
    let long = GroupDraft {
        name: "x".repeat(256),
        ..GroupDraft::default()
    };
    let refusal = world.service.create_group(user(1), long).await;
    assert_eq!(refusal.unwrap_err().code(), 10001);
    assert!(make(vec![user(2)]).await.is_ok());
}

#[tokio::test]
async fn s7_only_members_read() {
    let world = service_fixture();
    let group = world.group([1, 2]).await;
    let stranger = world.service.group(user(3), group).await;
    assert_eq!(stranger, Err(RequestRefusal::NotInGroup(group)));
    let stranger = world.service.members(user(3), group, None, 500).await;
    assert_eq!(stranger.unwrap_err(), RequestRefusal::NotInGroup(group));
    let nowhere = GroupId::new(99).unwrap();
    let missing = world.service.group(user(1), nowhere).await;
    assert_eq!(missing, Err(RequestRefusal::NoSuchGroup(nowhere)));
    let other = world.group([2]).await;
    let mine = world
        .service
        .groups_of(user(2), None, 500)
        .await
        .unwrap()
        .items;
    assert_eq!(
        mine.iter().map(|g| g.id).collect::<Vec<_>>(),
        [group, other]
    );
    assert!(
        world
            .service
            .groups_of(user(3), None, 500)
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test]
async fn additions_are_pushed_to_all_and_present_members_are_returned() {
    let world = service_fixture();
    let group = world.group([1, 2]).await;
    let add = |by, users: &[u64]| {
        let users: Vec<UserId> = users.iter().copied().map(user).collect();
        let service = world.service.clone();
        async move { service.add_members(user(by), group, &users).await }
    };
    // A member may invite.
    assert_eq!(add(2, &[3, 2, 3]).await.unwrap(), [user(2)]);
    for member in 1..=3 {
        assert_eq!(world.pushes(member).await, ["120"]);
    }
    assert!(world.texts(3).await[0].contains("name3"));
    assert!(!world.texts(3).await[0].contains("name1"));
    assert_eq!(add(1, &[1, 2, 3]).await.unwrap().len(), 3);
    assert_eq!(world.pushes(1).await, ["120"]);
    let unknown = add(1, &[9_999]).await;
    assert_eq!(unknown, Err(RequestRefusal::NoSuchUser(user(9_999))));
    assert_eq!(add(8, &[8]).await, Err(RequestRefusal::NotInGroup(group)));
    assert_eq!(world.sink.entries(), [(1, 1), (2, 1), (3, 1)]);
}

#[tokio::test]
async fn a_removed_member_gets_the_removal_and_no_later_message() {
    let world = service_fixture();
    let group = world.group([1, 2, 3]).await;
    // This send caches the roster.
    world
        .service
        .send(from(1), to_group(group, "one"))
        .await
        .unwrap();
    let remove = |by, who| world.service.remove_member(user(by), group, user(who));
    let forbidden = remove(2, 3).await.unwrap_err();
    assert_eq!(forbidden.code(), 7);
    remove(1, 3).await.unwrap();
    world
        .service
        .send(from(1), to_group(group, "two"))
        .await
        .unwrap();
    assert_eq!(world.pushes(2).await, ["one", "121", "two"]);
    assert_eq!(world.pushes(3).await, ["one", "121"]);
    let out = world.service.send(from(3), to_group(group, "me")).await;
    assert_eq!(out, Err(RequestRefusal::NotInGroup(group)));
    // Removing a user that is not a member changes nothing and pushes nothing.
    remove(1, 3).await.unwrap();
    assert_eq!(world.pushes(2).await.len(), 3);
    assert_eq!(remove(1, 1).await.unwrap_err().code(), 7);
    remove(2, 2).await.unwrap();
    remove(1, 1).await.unwrap();
    assert_eq!(remove(1, 1).await, Err(RequestRefusal::NotInGroup(group)));
}

#[tokio::test]
async fn x8_an_update_changes_what_it_names_and_tells_the_whole() {
    let world = service_fixture();
    let group = world.group([1, 2]).await;
    let edit = |by, edit: GroupEdit| world.service.update_group(user(by), group, edit);
    let introduced = GroupEdit {
        introduction: Some("about".into()),
        ..GroupEdit::default()
    };
    assert_eq!(edit(2, introduced.clone()).await.unwrap_err().code(), 7);
    edit(1, introduced).await.unwrap();
    edit(1, GroupEdit::default()).await.unwrap();
    let now = world.service.group(user(2), group).await.unwrap();
    assert_eq!((&*now.name, &*now.introduction), ("group", "about"));
    assert_eq!(world.pushes(1).await, ["110"]);
    let told = &world.texts(2).await[0];
    assert!(told.contains("\"group\"") && told.contains("about") && told.contains("name1"));
}

#[tokio::test]
async fn roles_are_the_admins_and_names_also_ones_own() {
    let world = service_fixture();
    let group = world.group([1, 2, 3]).await;
    let edit = |by, who, role, remarks: &str| {
        let edit = MemberEdit {
            role,
            remarks: Some(remarks.to_owned()),
            extra: None,
        };
        world
            .service
            .update_member(user(by), group, user(who), edit)
    };
    edit(2, 2, None, "me").await.unwrap();
    assert_eq!(edit(2, 3, None, "you").await.unwrap_err().code(), 7);
    let raise = edit(2, 2, Some(MemberRole::Admin), "me").await;
    assert_eq!(raise.unwrap_err().code(), 7);
    let lower = edit(1, 1, Some(MemberRole::Member), "x").await;
    assert_eq!(lower.unwrap_err().code(), 7);
    assert_eq!(edit(1, 9, None, "x").await.unwrap_err().code(), 10001);
    edit(1, 2, Some(MemberRole::Admin), "boss").await.unwrap();
    edit(1, 1, Some(MemberRole::Member), "x").await.unwrap();
    let members = world
        .service
        .members(user(3), group, None, 500)
        .await
        .unwrap()
        .items;
    let seen: Vec<_> = members
        .iter()
        .map(|(m, _)| (m.user.get(), m.role, m.remarks.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            (1, MemberRole::Member, "x"),
            (2, MemberRole::Admin, "boss"),
            (3, MemberRole::Member, "")
        ]
    );
    assert!(world.inbox(1).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn members_get_everything_between_their_addition_and_their_removal() {
    // Two nodes on one store: each caches rosters that the other changes.
    let stores = memory::stores();
    let one = service_fixture_with(stores.clone(), Limits::default(), ServerPolicy::default());
    let two = service_fixture_with(stores, Limits::default(), ServerPolicy::default());
    let group = one.group([1, 2]).await;
    for round in 0..20 {
        let newcomer = 10 + round;
        let racing = (0..5).map(|n| {
            let service = two.service.clone();
            let text = format!("race {round} {n}");
            async move {
                let draft = MessageDraft {
                    sent_at: UnixTimestamp(n),
                    client_id: Some(text.clone()),
                    ..to_group(group, &text)
                };
                service.send(from(2), draft).await
            }
        });
        let new = [user(newcomer)];
        let add = one.service.add_members(user(1), group, &new);
        let (sent, added) = tokio::join!(futures_util::future::join_all(racing), add);
        added.unwrap();
        for sent in sent {
            sent.unwrap();
        }
        let text = format!("member {round}");
        two.service
            .send(from(2), to_group(group, &text))
            .await
            .unwrap();
        let remove = one.service.remove_member(user(1), group, user(newcomer));
        remove.await.unwrap();
        let text = format!("gone {round}");
        two.service
            .send(from(2), to_group(group, &text))
            .await
            .unwrap();
        let seen = two.texts(newcomer).await;
        assert!(seen[0].starts_with("120 "), "{seen:?}");
        assert_eq!(seen[seen.len() - 2], format!("member {round}"));
        assert!(seen[seen.len() - 1].starts_with("121 "), "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn x4_concurrent_changes_all_take_place() {
    let world = service_fixture();
    let group = world.group([1]).await;
    let adds = (2..12).map(|n| {
        let service = world.service.clone();
        async move { service.add_members(user(1), group, &[user(n)]).await }
    });
    for added in futures_util::future::join_all(adds).await {
        added.unwrap();
    }
    let now = world.service.group(user(1), group).await.unwrap();
    assert_eq!(now.members, 11);
    assert_eq!(world.pushes(1).await.len(), 10);
}

#[tokio::test]
async fn a_remembered_roster_opens_nothing_that_another_node_has_closed() {
    let stores = memory::stores();
    let one = service_fixture_with(stores.clone(), Limits::default(), ServerPolicy::default());
    let two = service_fixture_with(stores, Limits::default(), ServerPolicy::default());
    let group = one.group([1, 2, 3]).await;
    let typing = || MessageDraft {
        persist: false,
        ..to_group(group, "typing")
    };
    two.service.send(from(3), typing()).await.unwrap();
    one.service
        .remove_member(user(1), group, user(3))
        .await
        .unwrap();
    let out = RequestRefusal::NotInGroup(group);
    assert_eq!(two.service.send(from(3), typing()).await, Err(out.clone()));
    assert_eq!(
        two.service.members(user(3), group, None, 500).await,
        Err(out.clone())
    );
    two.service.send(from(1), typing()).await.unwrap();
    let deliveries = two.sink.batches.lock().unwrap();
    let Some(DeliveryBatch::Live { to, .. }) = deliveries.last() else {
        panic!("a live push, not {deliveries:?}");
    };
    assert_eq!(*to, [user(1), user(2)]);
}

#[tokio::test]
async fn an_addition_of_many_users_is_split_into_pushes_that_fit() {
    let limits = Limits {
        content: 2_000,
        ..Limits::default()
    };
    let world = service_fixture_with(memory::stores(), limits, ServerPolicy::default());
    let group = world.group([1]).await;
    let new: Vec<UserId> = (2..=101).map(user).collect();
    let added = world.service.add_members(user(1), group, &new).await;
    assert_eq!(added.unwrap(), []);
    for member in [1, 101] {
        let texts = world.texts(member).await;
        assert!(texts.len() > 1);
        assert!(texts.iter().all(|text| text.len() <= 2_000));
        let told = texts.concat();
        for n in 2..=101 {
            assert_eq!(told.matches(&format!("\"name{n}\"")).count(), 1);
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn m6_who_has_left_still_gets_the_first_answer_to_a_repeat() {
    let world = service_fixture();
    let group = world.group([1, 2, 3]).await;
    let draft = || MessageDraft {
        client_id: Some("once".to_owned()),
        ..to_group(group, "hi")
    };
    let sent = world.service.send(from(3), draft()).await.unwrap();
    world
        .service
        .remove_member(user(1), group, user(3))
        .await
        .unwrap();
    let again = world.service.send(from(3), draft()).await.unwrap();
    assert_eq!(
        (again.seq, again.message, again.repeated),
        (sent.seq, sent.message, true)
    );
    let new = world.service.send(from(3), to_group(group, "me?")).await;
    assert_eq!(new, Err(RequestRefusal::NotInGroup(group)));
    let other = MessageDraft {
        client_id: Some("once".to_owned()),
        ..to_group(group, "other")
    };
    assert_eq!(
        world.service.send(from(3), other).await,
        Err(RequestRefusal::Conflict)
    );
    assert_eq!(world.pushes(2).await, ["hi", "121"]);
}

/// A15: a user cannot read all profiles through a group of all users.
#[tokio::test(start_paused = true)]
async fn a_user_adds_so_many_a_day() {
    let limits = Limits {
        group_adds: 3,
        ..Limits::default()
    };
    let world = service_fixture_with(memory::stores(), limits, ServerPolicy::default());
    let make = |members: Vec<u64>| {
        let draft = GroupDraft {
            members: members.into_iter().map(user).collect(),
            ..GroupDraft::default()
        };
        world.service.create_group(user(1), draft)
    };
    let group = make(vec![2, 3]).await.unwrap();
    let add = async |who: u64| {
        let new = [user(who)];
        world.service.add_members(user(1), group, &new).await
    };
    add(4).await.unwrap();
    assert_eq!(add(4).await.unwrap(), [user(4)], "no user was added");
    assert_eq!(add(5).await.unwrap_err().code(), 8);
    assert_eq!(make(vec![6]).await.unwrap_err().code(), 8);
    tokio::time::advance(Duration::from_hours(24)).await;
    add(5).await.unwrap();
}

#[tokio::test]
async fn only_friends_are_added_where_the_policy_says_so() {
    let policy = ServerPolicy {
        group_add: GroupAdd::Friends,
        ..ServerPolicy::default()
    };
    let world = service_fixture_with(memory::stores(), Limits::default(), policy);
    let draft = |who: u64| GroupDraft {
        members: vec![user(who)],
        ..GroupDraft::default()
    };
    let refusal = world.service.create_group(user(1), draft(2)).await;
    let refusal = refusal.unwrap_err();
    assert_eq!(refusal.code(), 10001);
    assert!(refusal.to_string().contains("AddFriend"), "{refusal}");
    world.ask(1, 2).await.unwrap();
    world.agree(2, 1).await.unwrap();
    let group = world.service.create_group(user(1), draft(2)).await.unwrap();
    let refused = world.service.add_members(user(1), group, &[user(3)]).await;
    assert_eq!(refused.unwrap_err().code(), 10001);
}
