//! gimlet nodes are killed, or restarted in order.

use std::time::Duration;

use gimlet_tests::cluster::NodeRole;
use gimlet_tests::fault::{FaultLoad, FaultRow, restart_in_turn};
use tokio::time::Instant;

use crate::fault_stage::{APART, FaultStage, by_run};

/// Number of answers awaited between two faults, so that both nodes are in use again.
const BETWEEN: usize = 40;

pub(crate) async fn a_connect_node_is_killed(stage: FaultStage) -> FaultRow {
    let mut place = stage.start_cluster(APART).await;
    let cluster = &mut place.cluster;
    let load = FaultLoad::begin(cluster).await;
    let mut worst = Duration::ZERO;
    let rounds = by_run(10, 2);
    for round in 0..rounds {
        load.flows(BETWEEN).await;
        let dropped = load.dropped();
        let killed = Instant::now();
        cluster.connect[round % 2].kill().unwrap();
        worst = worst.max(load.is_served(killed).await);
        assert!(load.dropped() >= dropped + 3, "three were connected there");
        cluster.restart(NodeRole::Connect, round % 2).await.unwrap();
    }
    load.flows(BETWEEN).await;
    let fault = format!("kill -9 of a connect node, {rounds} times");
    let note = "its clients reconnect to the other";
    load.row(cluster, &fault, worst, note).await
}

pub(crate) async fn a_logic_node_is_killed_in_mid_send(stage: FaultStage) -> FaultRow {
    let mut place = stage.start_cluster(APART).await;
    let cluster = &mut place.cluster;
    let load = FaultLoad::begin(cluster).await;
    let mut worst = Duration::ZERO;
    let rounds = by_run(20, 4);
    for round in 0..rounds {
        load.flows(BETWEEN).await;
        let killed = Instant::now();
        cluster.logic[round % 2].kill().unwrap();
        worst = worst.max(load.is_served(killed).await);
        cluster.restart(NodeRole::Logic, round % 2).await.unwrap();
    }
    load.flows(BETWEEN).await;
    let fault = format!("kill -9 of a logic node in mid-send, {rounds} times");
    let note = format!(
        "{} sends were found stored when repeated on the other node",
        load.repeated()
    );
    load.row(cluster, &fault, worst, &note).await
}

pub(crate) async fn every_node_is_restarted_in_turn(stage: FaultStage) -> FaultRow {
    let mut place = stage.start_cluster(APART).await;
    let cluster = &mut place.cluster;
    let load = FaultLoad::begin(cluster).await;
    let start = Instant::now();
    let rounds = by_run(3, 1);
    let mut worst = Duration::ZERO;
    for _ in 0..rounds {
        let served = restart_in_turn(cluster, &load, BETWEEN / 2, None).await;
        worst = worst.max(served.unwrap());
    }
    let fault = format!("rolling restart of all five nodes, {rounds} times");
    let note = format!(
        "no sender waited longer than {:.2} s for an answer",
        load.longest_gap(start).as_secs_f64()
    );
    load.row(cluster, &fault, worst, &note).await
}
