//! Several devices of one user.

use std::future::IntoFuture as _;

use gimlet_tests::scenario::MatrixCell;

use crate::{CoveredCells, ScenarioCase, stories};

pub(crate) fn all() -> Vec<ScenarioCase> {
    stories!(multi_device, CoveredCells::Every => [
        every_device_except_the_sending_one_gets_the_message,
        one_device_away_stops_no_other,
        acks_of_one_device_skip_nothing_on_another,
        all_devices_see_one_order,
    ])
}

async fn every_device_except_the_sending_one_gets_the_message(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let (laptop, tablet) = (alice.device("laptop").await, bob.device("tablet").await);
    alice.phone.sends("hi").to(&bob).await;
    bob.phone.receives("hi").at(1).await;
    tablet.receives("hi").at(1).await;
    let copy = laptop.receives("hi").at(1).within(&bob).await;
    assert!(copy.own && !copy.own_device);
    tablet.sends("hello").to(&alice).await;
    bob.phone.receives("hello").at(2).await;
    laptop.receives("hello").at(2).await;
    // The phone's next entry is the answer: its own "hi" is not pushed to it.
    alice.phone.receives("hello").at(2).await;
}

async fn one_device_away_stops_no_other(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let tablet = bob.device("tablet").await;
    bob.phone.goes_offline().await;
    alice.phone.sends("one").to(&bob).await;
    tablet.receives("one").at(1).await;
    bob.phone.switches_on().await;
    bob.phone.receives("one").at(1).await;
}

async fn acks_of_one_device_skip_nothing_on_another(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    for text in ["1", "2", "3"] {
        alice.phone.sends(text).to(&bob).await;
    }
    let mut first = world.bare().await;
    first.signs_in(&bob.phone.who, 1).await;
    assert_eq!(first.syncs(0).await.len(), 3);
    first.acks(3).await;
    first.beats().await;
    let tablet = bob.absent_device("tablet").await;
    let mut second = world.bare().await;
    second.signs_in(&tablet.who, 1).await;
    let seqs: Vec<i64> = second.syncs(0).await.iter().map(|m| m.seq).collect();
    assert_eq!(seqs, [1, 2, 3]);
}

async fn all_devices_see_one_order(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let tablet = bob.device("tablet").await;
    let laptop = alice.device("laptop").await;
    let sends = (0..30).map(|n| {
        let from = if n % 2 == 0 { &alice.phone } else { &laptop };
        from.sends(format!("{n}")).to(&bob).into_future()
    });
    futures_util::future::join_all(sends).await;
    for seq in 1..=30 {
        let (one, other) = (bob.phone.next_entry().await, tablet.next_entry().await);
        let gimlet_client::ClientEvent::Message(one) = one else {
            panic!("a message")
        };
        tablet_agrees(&one, other, seq);
    }
}

fn tablet_agrees(
    one: &gimlet_client::ReceivedMessage,
    other: gimlet_client::ClientEvent,
    seq: i64,
) {
    let gimlet_client::ClientEvent::Message(other) = other else {
        panic!("a message")
    };
    assert_eq!((one.seq, other.seq), (seq, seq));
    assert_eq!(one.content, other.content);
}
