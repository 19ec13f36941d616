//! A second connection of a device, and a device that changes its user.

use gimlet_client::{ClientEvent, pb};
use gimlet_tests::scenario::MatrixCell;

use crate::{CoveredCells, ScenarioCase, stories};

pub(crate) fn all() -> Vec<ScenarioCase> {
    stories!(takeover,
        CoveredCells::Every => [
            c4_the_newer_connection_is_served_and_the_older_is_closed,
            c3_the_older_connections_close_unregisters_nothing,
            c5_a_device_that_changed_hands_gets_only_its_new_owners_messages,
            c6_c7_coming_and_going_fast_leaves_the_device_reachable,
        ],
        CoveredCells::Protobuf => [an_old_clients_older_connection_stays_open_and_gets_nothing],
    )
}

async fn c4_the_newer_connection_is_served_and_the_older_is_closed(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let mut newer = world.bare().await;
    newer.signs_in(&bob.phone.who, 1).await;
    let end = bob.phone.receives_session_end().await;
    assert!(matches!(end, ClientEvent::Superseded), "{end:?}");
    newer.syncs(0).await;
    alice.phone.sends("hi").to(&bob).await;
    assert_eq!(newer.pushed().await.seq, 1);
}

async fn c3_the_older_connections_close_unregisters_nothing(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    for turn in 1..=10 {
        let mut older = world.bare().await;
        older.signs_in(&bob.phone.who, 0).await;
        let mut newer = world.bare().await;
        newer.signs_in(&bob.phone.who, 0).await;
        newer.syncs(0).await;
        drop(older);
        // The close of the older connection reaches the server during these heartbeats.
        for _ in 0..3 {
            newer.beats().await;
        }
        alice.phone.sends("hi").to(&bob).await;
        assert_eq!(newer.pushed().await.seq, turn);
    }
}

async fn c5_a_device_that_changed_hands_gets_only_its_new_owners_messages(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let carol = world.absent("Carol").await;
    // Alice writes to Bob first, so that any cache of Bob's devices contains this one.
    alice.phone.sends("to Bob").to(&bob).await;
    bob.phone.receives("to Bob").at(1).await;
    let carols = carol.takes(&bob.phone).await;
    assert!(!matches!(
        bob.phone.receives_session_end().await,
        ClientEvent::Message(_)
    ));
    for n in 0..10 {
        alice.phone.sends(format!("Bob's {n}")).to(&bob).await;
    }
    alice.phone.sends("to Carol").to(&carol).await;
    carols.receives("to Carol").at(1).await;
    // The previous user's token is not accepted any more.
    let mut bare = world.bare().await;
    let refused = bare.tries_to_sign_in(&bob.phone.who, 1).await;
    assert_eq!(refused.code, 10_000, "S-14");
}

async fn c6_c7_coming_and_going_fast_leaves_the_device_reachable(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    let mut last = world.bare().await;
    last.signs_in(&bob.phone.who, 1).await;
    for _ in 0..20 {
        let mut next = world.bare().await;
        next.signs_in(&bob.phone.who, 1).await;
        drop(std::mem::replace(&mut last, next));
    }
    last.syncs(0).await;
    alice.phone.sends("still there?").to(&bob).await;
    assert_eq!(last.pushed().await.seq, 1);
    let device = pb::GetDeviceReq {
        device_id: bob.phone.who.device_id,
    };
    let answer = world
        .calls()
        .await
        .backend
        .get_device(device)
        .await
        .unwrap();
    assert_eq!(answer.into_inner().device.unwrap().status, 1, "online");
}

async fn an_old_clients_older_connection_stays_open_and_gets_nothing(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    let mut older = world.bare().await;
    older.signs_in(&bob.phone.who, 0).await;
    older.syncs(0).await;
    let mut newer = world.bare().await;
    newer.signs_in(&bob.phone.who, 0).await;
    newer.syncs(0).await;
    alice.phone.sends("hi").to(&bob).await;
    assert_eq!(newer.pushed().await.seq, 1);
    older.beats().await;
    assert!(older.pushes().is_empty(), "it is served nothing more");
    let kind = pb::PackageType::PtSync;
    let refused = older.asks(kind, 5, &pb::SyncInput { seq: 0 }).await;
    assert_eq!(refused.code, 10_000);
}
