//! Groups: delivery, permissions, and large groups.

use std::future::IntoFuture as _;

use gimlet_client::pb::{MemberType, UpdateGroupMemberReq, UpdateGroupReq};
use gimlet_client::{ApiError, SystemPush};
use gimlet_tests::scenario::{Device, Group, GrpcServices, MatrixCell, ScenarioUser, soon};

use crate::{CoveredCells, ScenarioCase, stories};

pub(crate) fn all() -> Vec<ScenarioCase> {
    stories!(group,
        CoveredCells::Every => [
            a_message_reaches_every_member_once,
            all_members_are_pushed_additions_changes_and_removals,
            a_new_member_gets_what_follows_and_nothing_before,
            strangers_may_do_nothing,
            only_admins_change_and_the_last_one_stays,
            x2_a_missing_group_is_10013,
            x3_naming_somebody_twice_counts_once,
            x4_members_are_counted,
            m4_one_member_without_an_account_cuts_off_nobody,
        ],
        CoveredCells::OneProcess => [two_thousand_five_hundred_members_get_all_in_one_order],
    )
}

async fn three(cell: &MatrixCell) -> (ScenarioUser, ScenarioUser, ScenarioUser, Group) {
    let world = cell.start().await;
    let alice = world.person("Alice").await;
    let bob = world.person("Bob").await;
    let carol = world.person("Carol").await;
    let group = alice.phone.creates_a_group(&[&bob, &carol]).await;
    (alice, bob, carol, group)
}

async fn a_message_reaches_every_member_once(cell: &MatrixCell) {
    let (alice, bob, carol, group) = three(cell).await;
    let laptop = alice.device("laptop").await;
    assert_eq!(alice.phone.sends("one").to(&group).await.seq, 1);
    assert_eq!(bob.phone.sends("two").to(&group).await.seq, 2);
    for device in [&carol.phone, &laptop] {
        device
            .receives("one")
            .at(1)
            .from(&alice)
            .within(&group)
            .await;
        device.receives("two").at(2).from(&bob).within(&group).await;
    }
    alice.phone.receives("two").at(2).await;
    bob.phone.receives("one").at(1).await;
}

async fn all_members_are_pushed_additions_changes_and_removals(cell: &MatrixCell) {
    let (alice, bob, carol, group) = three(cell).await;
    let dave = alice.phone.fixture().person("Dave").await;
    assert!(alice.phone.adds(&dave, &group).await.is_empty());
    for person in [&alice, &bob, &carol, &dave] {
        let (_, SystemPush::MembersAdded(added)) = person.phone.receives_push().await else {
            panic!("a push 120")
        };
        let ids: Vec<i64> = added.members.iter().map(|member| member.user_id).collect();
        assert_eq!(
            ids,
            [dave.id],
            "X-5: the added user, not the one that added it"
        );
        assert_eq!((added.opt_id, added.opt_name.as_str()), (alice.id, "Alice"));
    }
    assert_eq!(
        alice.phone.adds(&dave, &group).await,
        [dave.id],
        "a member already"
    );
    updates(&alice.phone, &group, Some("crew"), None)
        .await
        .unwrap();
    for person in [&alice, &bob, &carol, &dave] {
        let (_, SystemPush::GroupUpdated(update)) = person.phone.receives_push().await else {
            panic!("a push 110")
        };
        assert_eq!((update.opt_id, update.name.as_str()), (alice.id, "crew"));
    }
    alice.phone.removes(&bob, &group).await;
    for person in [&alice, &bob, &carol, &dave] {
        let (_, SystemPush::MemberRemoved(removed)) = person.phone.receives_push().await else {
            panic!("a push 121")
        };
        assert_eq!(
            (removed.opt_id, removed.deleted_user_id),
            (alice.id, bob.id)
        );
    }
    alice.phone.sends("without Bob").to(&group).await;
    carol.phone.receives("without Bob").await;
    alice.phone.sends("to Bob").to(&bob).await;
    bob.phone.receives("to Bob").await;
}

async fn updates(
    device: &Device,
    group: &Group,
    name: Option<&str>,
    introduction: Option<&str>,
) -> Result<(), ApiError> {
    let change = UpdateGroupReq {
        group_id: group.id,
        name: name.map(str::to_owned),
        introduction: introduction.map(str::to_owned),
        ..UpdateGroupReq::default()
    };
    let calls = device.fixture().calls().await;
    let request = GrpcServices::signed(&device.who, change);
    GrpcServices::answer(calls.logic.clone().update_group(request).await).map(drop)
}

async fn makes(
    device: &Device,
    whom: &ScenarioUser,
    role: MemberType,
    group: &Group,
) -> Result<(), ApiError> {
    let change = UpdateGroupMemberReq {
        group_id: group.id,
        user_id: whom.id,
        member_type: Some(role.into()),
        ..UpdateGroupMemberReq::default()
    };
    let calls = device.fixture().calls().await;
    let request = GrpcServices::signed(&device.who, change);
    GrpcServices::answer(calls.logic.clone().update_group_member(request).await).map(drop)
}

async fn a_new_member_gets_what_follows_and_nothing_before(cell: &MatrixCell) {
    let (alice, _, _, group) = three(cell).await;
    alice.phone.sends("before").to(&group).await;
    let dave = alice.phone.fixture().person("Dave").await;
    alice.phone.adds(&dave, &group).await;
    alice.phone.sends("after").to(&group).await;
    let (inbound, push) = dave.phone.receives_push().await;
    assert!(matches!(push, SystemPush::MembersAdded(_)) && inbound.seq == 1);
    dave.phone.receives("after").at(2).await;
}

/// S-7.
async fn strangers_may_do_nothing(cell: &MatrixCell) {
    let (alice, bob, _, group) = three(cell).await;
    let eve = alice.phone.fixture().person("Eve").await;
    let (code, _) = eve.phone.sends("let me in").to(&group).is_refused().await;
    assert_eq!(code, 10_011);
    let api = eve.phone.api();
    let added = api.add_group_members(group.id, &[eve.id]).await;
    assert_eq!(added.unwrap_err().code, 10_011);
    assert_eq!(api.group_members(group.id).await.unwrap_err().code, 10_011);
    let removed = eve.phone.tries_to_remove(&bob, &group).await;
    assert_eq!(removed.unwrap_err().code, 10_011);
    let renamed = updates(&eve.phone, &group, Some("mine"), None).await;
    assert_eq!(renamed.unwrap_err().code, 10_011);
    let raised = makes(&eve.phone, &eve, MemberType::GmtAdmin, &group).await;
    assert_eq!(raised.unwrap_err().code, 10_011);
    assert!(eve.phone.api().groups().await.unwrap().is_empty());
}

async fn only_admins_change_and_the_last_one_stays(cell: &MatrixCell) {
    let (alice, bob, carol, group) = three(cell).await;
    let forbidden = 7;
    let removed = bob.phone.tries_to_remove(&carol, &group).await;
    assert_eq!(removed.unwrap_err().code, forbidden);
    let renamed = updates(&bob.phone, &group, Some("mine"), None).await;
    assert_eq!(renamed.unwrap_err().code, forbidden);
    let raised = makes(&bob.phone, &bob, MemberType::GmtAdmin, &group).await;
    assert_eq!(raised.unwrap_err().code, forbidden);
    let left = alice.phone.tries_to_remove(&alice, &group).await;
    assert_eq!(left.unwrap_err().code, forbidden, "the last admin");
    makes(&alice.phone, &bob, MemberType::GmtAdmin, &group)
        .await
        .unwrap();
    alice.phone.removes(&alice, &group).await;
    bob.phone.removes(&carol, &group).await;
    let left = bob.phone.api().group_members(group.id).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].user_id, bob.id);
}

async fn x2_a_missing_group_is_10013(cell: &MatrixCell) {
    let world = cell.start().await;
    let alice = world.person("Alice").await;
    let nowhere = Group { id: 424_242 };
    let (code, _) = alice.phone.sends("hello?").to(&nowhere).is_refused().await;
    assert_eq!(code, 10_013);
    let members = alice.phone.api().group_members(nowhere.id).await;
    assert_eq!(members.unwrap_err().code, 10_013);
    let renamed = updates(&alice.phone, &nowhere, Some("x"), None).await;
    assert_eq!(renamed.unwrap_err().code, 10_013);
}

async fn x3_naming_somebody_twice_counts_once(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let group = alice.phone.creates_a_group(&[&bob, &bob, &alice]).await;
    let members = bob.phone.api().group_members(group.id).await.unwrap();
    let ids: Vec<i64> = members.iter().map(|member| member.user_id).collect();
    assert_eq!(ids, [alice.id, bob.id]);
    alice.phone.sends("once").to(&group).await;
    bob.phone.receives("once").at(1).await;
    let missing = alice.phone.api().create_group("x", &[999_999]).await;
    assert_eq!(missing.unwrap_err().code, 10_016);
    assert_eq!(alice.phone.api().groups().await.unwrap().len(), 1);
}

async fn x4_members_are_counted(cell: &MatrixCell) {
    let (alice, bob, _, group) = three(cell).await;
    let count = async || alice.phone.api().groups().await.unwrap()[0].user_mum;
    assert_eq!(count().await, 3);
    alice.phone.removes(&bob, &group).await;
    assert_eq!(count().await, 2);
    let edits = (0..10).map(|n| {
        let introduction = format!("{n}");
        let (phone, group) = (&alice.phone, &group);
        async move { updates(phone, group, None, Some(&introduction)).await }
    });
    let added = alice.phone.adds(&bob, &group);
    let (edited, _) = tokio::join!(futures_util::future::join_all(edits), added);
    assert!(edited.iter().all(Result::is_ok), "{edited:?}");
    assert_eq!(count().await, 3, "no change was overwritten by another");
    assert_eq!(
        alice.phone.api().groups().await.unwrap()[0].name,
        "team",
        "X-8"
    );
}

async fn m4_one_member_without_an_account_cuts_off_nobody(cell: &MatrixCell) {
    let world = cell.start().await;
    let alice = world.person("Alice").await;
    // Members that never connected are before and after the online members in the roster.
    let before = world.absent("Before").await;
    let bob = world.person("Bob").await;
    let behind = world.absent("Behind").await;
    let group = alice.phone.creates_a_group(&[&behind, &bob, &before]).await;
    alice.phone.sends("to all").to(&group).await;
    bob.phone.receives("to all").at(1).await;
    for person in [&before, &behind] {
        person.phone.switches_on().await;
        person.phone.receives("to all").at(1).await;
    }
}

/// Excluded from the cluster: thousands of sign-ups, each with a commit, would take a minute there.
/// The contract suite has groups of several fan-out chunks on MySQL, and the fault tests kill a
/// logic node between them.
async fn two_thousand_five_hundred_members_get_all_in_one_order(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let others = world.users_without_devices(2_497).await;
    // Created last: the last in the roster's order, in the last fan-out chunk of the job.
    let carol = world.person("Carol").await;
    let mut members = others.clone();
    members.extend([bob.id, carol.id]);
    let group = alice.phone.creates_a_group_of(&members).await;
    let sends = (0..5).flat_map(|n| {
        [
            alice.phone.sends(format!("a{n}")).to(&group).into_future(),
            bob.phone.sends(format!("b{n}")).to(&group).into_future(),
        ]
    });
    futures_util::future::join_all(sends).await;
    let mut order = Vec::new();
    for seq in 1..=10 {
        let gimlet_client::ClientEvent::Message(got) = carol.phone.next_entry().await else {
            panic!("a message")
        };
        assert_eq!(got.seq, seq);
        order.push(got.message_id.clone());
    }
    let calls = world.calls().await;
    for user in others.iter().step_by(250) {
        let page = soon("the job's parts", async {
            loop {
                let sync = gimlet_client::pb::SyncReq {
                    user_id: *user,
                    device_id: 1,
                    seq: 0,
                };
                let page = GrpcServices::answer(calls.backend.clone().sync(sync).await).unwrap();
                if page.messages.len() >= order.len() {
                    return page;
                }
                tokio::task::yield_now().await;
            }
        });
        let ids: Vec<_> = page
            .await
            .messages
            .into_iter()
            .map(|m| m.message_id)
            .collect();
        assert_eq!(ids, order, "members agree on the order");
    }
    alice.phone.sends("to Carol").to(&carol).await;
    carol.phone.receives("to Carol").at(11).await;
}
