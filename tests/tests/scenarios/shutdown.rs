//! A server that stops gracefully and starts again.

use std::time::Duration;

use gimlet_client::pb;
use gimlet_tests::scenario::MatrixCell;
use tokio::time::Instant;

use crate::{CoveredCells, ScenarioCase, stories};

pub(crate) fn all() -> Vec<ScenarioCase> {
    stories!(shutdown,
        CoveredCells::Every => [clients_are_asked_to_reconnect, a_stop_does_not_wait_out_its_grace],
        CoveredCells::Durable => [
            what_was_answered_is_there_after_a_stop_under_load,
            everything_else_is_there_too,
        ],
    )
}

async fn clients_are_asked_to_reconnect(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    let mut ours = world.bare().await;
    ours.signs_in(&bob.phone.who, 1).await;
    world.stops().await;
    let close = ours.ends().await.expect("told why");
    assert_eq!(close.code(), pb::CloseCode::ShuttingDown);
    assert_eq!(close.come_back(), pb::ComeBack::NowWithJitter);
    let reason = alice.phone.is_disconnected().await;
    assert!(reason.contains("shutting down"), "{reason}");
}

/// A leak that keeps the storage open would extend the stop to its whole grace period.
async fn a_stop_does_not_wait_out_its_grace(cell: &MatrixCell) {
    let grace = Duration::from_secs(12);
    let world = cell.start_with(|config| config.stop.grace = grace).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    alice.phone.sends("hi").to(&bob).await;
    bob.phone.receives("hi").at(1).await;
    let began = Instant::now();
    world.stops().await;
    assert!(began.elapsed() < grace / 2, "{:?}", began.elapsed());
}

async fn what_was_answered_is_there_after_a_stop_under_load(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    for round in 0..3 {
        let sends = async {
            let mut answered = 0;
            // The library repeats the sends that the stop interrupted, so each is stored exactly
            // once.
            for n in 0..60 {
                alice.phone.sends(format!("{round} {n}")).to(&bob).await;
                answered += 1;
            }
            answered
        };
        let (answered, ()) = tokio::join!(sends, world.restarts());
        assert_eq!(answered, 60);
    }
    bob.phone.switches_on().await;
    for round in 0..3 {
        for n in 0..60 {
            bob.phone
                .receives(format!("{round} {n}"))
                .at(round * 60 + n + 1)
                .await;
        }
    }
}

async fn everything_else_is_there_too(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    alice.phone.api().add_friend(bob.id, "1").await.unwrap();
    bob.phone.api().agree(alice.id).await.unwrap();
    let group = alice.phone.creates_a_group(&[&bob]).await;
    world.restarts().await;
    assert_eq!(
        alice.phone.api().friends().await.unwrap()[0].user_id,
        bob.id
    );
    assert_eq!(
        bob.phone.api().groups().await.unwrap()[0].group_id,
        group.id
    );
    alice.phone.sends("same group").to(&group).await;
    bob.phone.receives_push().await;
    bob.phone.receives("same group").at(2).from(&alice).await;
}
