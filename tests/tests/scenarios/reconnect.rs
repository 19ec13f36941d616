//! Broken connections and server restarts: clients continue without help.

use std::future::IntoFuture as _;

use gimlet_tests::scenario::{MatrixCell, soon};

use crate::{CoveredCells, ScenarioCase, stories};

pub(crate) fn all() -> Vec<ScenarioCase> {
    stories!(reconnect,
        CoveredCells::Every => [
            a_cut_connection_costs_nothing,
            sends_over_many_cuts_are_stored_once_and_in_order,
        ],
        CoveredCells::Durable => [
            a_client_goes_on_after_a_restart_by_itself,
            a_message_of_the_outage_arrives,
            c9_after_a_restart_old_connections_are_forgotten,
        ],
    )
}

async fn a_cut_connection_costs_nothing(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    for n in 1..=5 {
        world.cable().cut_connections();
        alice.phone.sends(format!("{n}")).to(&bob).await;
        bob.phone.receives(format!("{n}")).at(n).await;
    }
}

/// M-5, M-6, M-7: a lost answer is repeated, and stored once.
async fn sends_over_many_cuts_are_stored_once_and_in_order(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let sends = async {
        for n in 1..=100 {
            let sent = alice.phone.sends(format!("{n}")).to(&bob).await;
            assert_eq!(sent.seq, n);
            if n % 10 == 0 {
                world.cable().cut_connections();
            }
        }
    };
    let receives = async {
        for n in 1..=100 {
            bob.phone.receives(format!("{n}")).at(n).await;
        }
    };
    soon("a hundred over ten cuts", async {
        tokio::join!(sends, receives)
    })
    .await;
}

async fn a_client_goes_on_after_a_restart_by_itself(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    alice.phone.sends("before").to(&bob).await;
    bob.phone.receives("before").at(1).await;
    world.restarts().await;
    alice.phone.sends("after").to(&bob).await;
    bob.phone.receives("after").at(2).await;
}

async fn a_message_of_the_outage_arrives(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    world.stops().await;
    alice.phone.is_disconnected().await;
    let sends = (0..10).map(|n| {
        let id = format!("outage {n}");
        alice.phone.sends(&id).to(&bob).with_id(&id).into_future()
    });
    let sent = futures_util::future::join_all(sends);
    let (sent, ()) = tokio::join!(sent, world.start_servers());
    let mut seqs: Vec<i64> = sent.iter().map(|sent| sent.seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=10).collect::<Vec<_>>());
    for seq in 1..=10 {
        let gimlet_client::ClientEvent::Message(got) = bob.phone.next_entry().await else {
            panic!("a message")
        };
        assert_eq!(got.seq, seq);
    }
    // The same ids again, from another connection, after another restart.
    world.restarts().await;
    for n in 0..10 {
        let id = format!("outage {n}");
        assert!(alice.phone.sends(&id).to(&bob).with_id(&id).await.repeated);
    }
    assert_eq!(alice.phone.sends("last").to(&bob).await.seq, 11);
}

async fn c9_after_a_restart_old_connections_are_forgotten(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    bob.phone.goes_offline().await;
    world.restarts().await;
    let request = gimlet_client::pb::GetDeviceReq {
        device_id: bob.phone.who.device_id,
    };
    let answer = world
        .calls()
        .await
        .backend
        .get_device(request)
        .await
        .unwrap();
    assert_eq!(answer.into_inner().device.unwrap().status, 0, "offline");
    alice.phone.sends("later").to(&bob).await;
    bob.phone.switches_on().await;
    bob.phone.receives("later").at(1).await;
}
