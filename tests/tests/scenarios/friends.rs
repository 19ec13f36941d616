//! Friends: requests, agreements, and the pushes that each side receives.

use gimlet_client::SystemPush;
use gimlet_tests::scenario::{GrpcServices, MatrixCell};

use crate::{CoveredCells, ScenarioCase, stories};

pub(crate) fn all() -> Vec<ScenarioCase> {
    stories!(friends, CoveredCells::Every => [
        requests_and_agreements_are_pushed,
        x1_two_who_ask_each_other_become_friends,
        a_request_waits_for_who_is_away,
        asking_a_friend_or_nobody_is_refused,
        remarks_are_kept_and_unset_fields_stay,
    ])
}

async fn requests_and_agreements_are_pushed(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    alice
        .phone
        .api()
        .add_friend(bob.id, "it is me")
        .await
        .unwrap();
    let (inbound, push) = bob.phone.receives_push().await;
    let SystemPush::FriendRequest(asked) = push else {
        panic!("{push:?}")
    };
    assert_eq!(
        (asked.friend_id, asked.nickname.as_str()),
        (alice.id, "Alice")
    );
    assert_eq!((asked.description.as_str(), inbound.seq), ("it is me", 1));
    bob.phone.api().agree(alice.id).await.unwrap();
    let (inbound, push) = alice.phone.receives_push().await;
    let SystemPush::FriendAgreed(agreed) = push else {
        panic!("{push:?}")
    };
    assert_eq!((agreed.friend_id, inbound.seq), (bob.id, 1));
    for (one, other) in [(&alice, &bob), (&bob, &alice)] {
        let friends = one.phone.api().friends().await.unwrap();
        assert_eq!(friends.len(), 1);
        assert_eq!(friends[0].user_id, other.id);
        assert_eq!(
            friends[0].nickname, other.name,
            "X-11: not the caller's own"
        );
    }
}

async fn x1_two_who_ask_each_other_become_friends(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    alice.phone.api().add_friend(bob.id, "1").await.unwrap();
    bob.phone.api().add_friend(alice.id, "2").await.unwrap();
    // The friendship is complete: a later agreement by either side changes nothing.
    for (one, other) in [(&alice, &bob), (&bob, &alice)] {
        one.phone.api().agree(other.id).await.unwrap();
        let friends = one.phone.api().friends().await.unwrap();
        let ids: Vec<i64> = friends.iter().map(|friend| friend.user_id).collect();
        assert_eq!(ids, [other.id]);
    }
}

async fn a_request_waits_for_who_is_away(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    alice.phone.api().add_friend(bob.id, "later").await.unwrap();
    bob.phone.switches_on().await;
    let (inbound, push) = bob.phone.receives_push().await;
    assert!(matches!(push, SystemPush::FriendRequest(_)), "{push:?}");
    assert_eq!(inbound.seq, 1);
}

async fn asking_a_friend_or_nobody_is_refused(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let api = alice.phone.api();
    api.add_friend(bob.id, "1").await.unwrap();
    bob.phone.api().agree(alice.id).await.unwrap();
    assert_eq!(api.add_friend(bob.id, "2").await.unwrap_err().code, 10_015);
    assert_eq!(api.add_friend(999_999, "3").await.unwrap_err().code, 10_016);
    assert_eq!(api.add_friend(0, "4").await.unwrap_err().code, 10_001);
    assert_eq!(api.add_friend(-5, "5").await.unwrap_err().code, 10_001);
    let stranger = world.person("Carol").await;
    let agreed = stranger.phone.api().agree(alice.id).await;
    assert_eq!(agreed.unwrap_err().code, 10_001, "there is no request");
}

async fn remarks_are_kept_and_unset_fields_stay(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    alice.phone.api().add_friend(bob.id, "1").await.unwrap();
    bob.phone.api().agree(alice.id).await.unwrap();
    let calls = world.calls().await;
    for (remarks, extra) in [(Some("Bobby"), None), (None, Some("a colleague"))] {
        let change = gimlet_client::pb::SetFriendReq {
            friend_id: bob.id,
            remarks: remarks.map(str::to_owned),
            extra: extra.map(str::to_owned),
        };
        let request = GrpcServices::signed(&alice.phone.who, change);
        GrpcServices::answer(calls.logic.clone().set_friend(request).await).unwrap();
    }
    let friends = alice.phone.api().friends().await.unwrap();
    assert_eq!(friends[0].remarks, "Bobby", "X-6, X-8: kept, and not wiped");
    assert_eq!(friends[0].extra, "a colleague");
}
