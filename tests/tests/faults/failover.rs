//! A server is replaced by another one: the primary of two MariaDB servers, by a handover and after
//! its death; a Redis master under Sentinels; a master of a Redis Cluster.

use std::time::Duration;

use gimlet_kit::database::TempDatabase;
use gimlet_tests::cluster::NodeCluster;
use gimlet_tests::fault::{FaultLoad, FaultRow, MariaDbPair, RedisGroup};
use tokio::time::Instant;

use crate::fault_stage::{APART, FaultStage, by_run, over};

/// Number of answers awaited before and after a fault.
const BETWEEN: usize = 40;
/// Longest time from the new primary's appearance until everything is served.
pub(crate) const PROMISE: Duration = Duration::from_secs(10);

/// Starts two MariaDB servers, and a cluster over the current primary.
pub(crate) async fn start_pair_and_cluster(stage: &FaultStage) -> (MariaDbPair, NodeCluster) {
    let pair = MariaDbPair::new(&stage.shared).await;
    let cluster = over(&pair.url, &stage.shared.redis, APART).await;
    (pair, cluster)
}

/// Waits until everything is served again; returns the time since the new primary's appearance.
async fn served(load: &FaultLoad, there: Instant) -> Duration {
    let served = load.is_served(there).await;
    assert!(
        served < PROMISE,
        "served {served:?} after the new primary was there"
    );
    served
}

pub(crate) async fn the_primary_is_handed_over_and_back(stage: FaultStage) -> FaultRow {
    let (mut pair, cluster) = start_pair_and_cluster(&stage).await;
    let load = FaultLoad::begin(&cluster).await;
    let dropped = load.dropped();
    let rounds = by_run(10, 1);
    let (mut kept, mut cut) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..rounds {
        load.flows(BETWEEN).await;
        // Connections to the old primary stay open, as behind a virtual address.
        let there = pair.hands_over().await;
        kept = kept.max(served(&load, there).await);
        load.flows(BETWEEN).await;
        // The way back cuts all of them, as a load balancer with health checks does.
        let there = pair.hands_over().await;
        pair.cut_connections();
        cut = cut.max(served(&load, there).await);
    }
    assert_eq!(load.dropped(), dropped, "connections of clients stay");
    load.flows(BETWEEN).await;
    let fault = format!("the primary MariaDB handed over to its replica and back, {rounds} times");
    let note = format!(
        "{:.2} s where connections to the old primary stay open, {:.2} s where they are cut; no \
         client lost its connection",
        kept.as_secs_f64(),
        cut.as_secs_f64()
    );
    load.row(&cluster, &fault, kept.max(cut), &note).await
}

pub(crate) async fn the_primary_is_killed_and_its_replica_promoted(stage: FaultStage) -> FaultRow {
    let (mut pair, cluster) = start_pair_and_cluster(&stage).await;
    let load = FaultLoad::begin(&cluster).await;
    let dropped = load.dropped();
    load.flows(BETWEEN).await;
    let there = pair.fails_over().await;
    let served = served(&load, there).await;
    assert_eq!(load.dropped(), dropped, "connections of clients stay");
    load.flows(BETWEEN).await;
    let fault = "kill -9 of the primary MariaDB, its semi-synchronous replica promoted";
    let note = "counted from the promotion; no client lost its connection";
    load.row(&cluster, fault, served, note).await
}

/// Kills the master of these servers and measures the recovery.
async fn redis_fails_over(stage: &FaultStage, mut redises: RedisGroup, fault: &str) -> FaultRow {
    let database = TempDatabase::new(&stage.shared.mysql).await;
    let cluster = over(&database.url, &redises.url, APART).await;
    let load = FaultLoad::begin(&cluster).await;
    load.flows(BETWEEN).await;
    let killed = Instant::now();
    let there = redises.fails_over().await;
    let served = served(&load, there).await;
    let gap = load.longest_gap(killed);
    assert!(
        gap < Duration::from_secs(3),
        "a sender waited {gap:?}: no send needs Redis"
    );
    load.flows(BETWEEN).await;
    let note = format!(
        "counted from the promotion; no sender waited longer than {:.2} s for an answer",
        gap.as_secs_f64()
    );
    load.row(&cluster, fault, served, &note).await
}

pub(crate) async fn the_master_of_sentinels_is_killed(stage: FaultStage) -> FaultRow {
    let redises = RedisGroup::under_sentinels().await;
    let fault = "kill -9 of the Redis master under three Sentinels";
    redis_fails_over(&stage, redises, fault).await
}

pub(crate) async fn a_master_of_a_redis_cluster_is_killed(stage: FaultStage) -> FaultRow {
    let redises = RedisGroup::cluster().await;
    let fault = "kill -9 of one of three masters of a Redis Cluster, its replica promoted";
    redis_fails_over(&stage, redises, fault).await
}
