//! Devices sign in elsewhere while their node is frozen, or repeatedly on three nodes. A superseded
//! connection must receive nothing more.

use std::time::Duration;

use gimlet_client::DeviceCredentials;
use gimlet_kit::wire::RawClient;
use gimlet_tests::cluster::NodeCluster;
use gimlet_tests::fault::{FaultLoad, FaultRow, WatchedConnection};
use tokio::time::Instant;

use crate::fault_stage::{APART, FaultStage, by_run, lasting, outage};

/// Number of answers awaited before and after a fault.
const BETWEEN: usize = 40;
/// Close code of a connection whose device has a newer one.
pub(crate) const SUPERSEDED: i32 = 4300;

/// Connects this device to a connect node, live from this seq on; fails if the connection was
/// superseded first.
async fn live(
    cluster: &NodeCluster,
    connect: usize,
    who: &DeviceCredentials,
    from: i64,
) -> std::io::Result<(RawClient, Vec<gimlet_client::pb::Message>)> {
    let mut raw = RawClient::sign_in(cluster.connect[connect].ports().tcp, who).await?;
    let entries = raw.sync(from).await?;
    Ok((raw, entries))
}

/// Does the same and lets the judge watch the connection.
pub(crate) async fn connect_watched(
    cluster: &NodeCluster,
    load: &mut FaultLoad,
    connect: usize,
    who: &DeviceCredentials,
) -> std::io::Result<WatchedConnection> {
    let from = load.judge().seen(who.user_id);
    let (raw, entries) = live(cluster, connect, who, from).await?;
    Ok(load.listens(raw, who, from, &entries))
}

pub(crate) async fn a_connect_node_freezes_while_its_devices_sign_in_elsewhere(
    stage: FaultStage,
) -> FaultRow {
    let mut place = stage.start_cluster(APART).await;
    let cluster = &mut place.cluster;
    let mut load = FaultLoad::begin(cluster).await;
    load.flows(BETWEEN).await;
    load.pauses().await;
    load.reads(cluster, 0).await;
    let mut devices = Vec::new();
    for at in 0..12 {
        let device = cluster.sign_in(load.number(at % 4)).await;
        let old = connect_watched(cluster, &mut load, 1, &device)
            .await
            .unwrap();
        devices.push((device, old));
    }
    cluster.connect[1].freeze().unwrap();
    let mut slowest = Duration::ZERO;
    for (device, old) in &devices {
        let start = Instant::now();
        connect_watched(cluster, &mut load, 0, device)
            .await
            .unwrap();
        slowest = slowest.max(start.elapsed());
        // Fenced only after the newer sign-in was answered: until then a message may still reach
        // either connection.
        old.is_fenced();
    }
    load.goes_on();
    load.flows(BETWEEN).await;
    outage(10).await;
    cluster.connect[1].thaw().unwrap();
    let thawed = Instant::now();
    for (_, old) in &devices {
        assert_eq!(old.ends().await, SUPERSEDED);
    }
    let fenced = thawed.elapsed();
    let served = load.is_served(thawed).await;
    load.flows(BETWEEN).await;
    let fault = format!(
        "a connect node frozen for {} while its devices sign in elsewhere",
        lasting(10)
    );
    let note = format!(
        "{} devices moved, each signed in within {:.2} s; the thawed node closed all of their old \
         connections within {:.2} s",
        devices.len(),
        slowest.as_secs_f64(),
        fenced.as_secs_f64()
    );
    load.row(cluster, &fault, served, &note).await
}

pub(crate) async fn a_device_signs_in_on_three_nodes_again_and_again(
    stage: FaultStage,
) -> FaultRow {
    let place = stage.start_cluster([3, 2, 1]).await;
    let cluster = &place.cluster;
    let mut load = FaultLoad::begin(cluster).await;
    let device = cluster.sign_in(load.number(0)).await;
    let waves = by_run(334, 34);
    let mut survivor: Option<WatchedConnection> = None;
    let (mut signed_in, mut slowest) = (0, Duration::ZERO);
    for wave in 0..waves {
        load.reads_one(cluster, wave % 3, device.user_id).await;
        let mut connections: Vec<WatchedConnection> = survivor.into_iter().collect();
        if wave % 2 == 0 {
            // The sign-ins follow each other: the last one is the newest.
            for turn in 0..3 {
                let connect = (wave + turn) % 3;
                let ear = connect_watched(cluster, &mut load, connect, &device)
                    .await
                    .unwrap();
                connections.iter().for_each(WatchedConnection::is_fenced);
                connections.push(ear);
            }
            signed_in += 3;
        } else {
            // The sign-ins run at once: any one of them is the newest.
            let from = load.judge().seen(device.user_id);
            let three = [0, 1, 2].map(|connect| live(cluster, connect, &device, from));
            let before = connections.len();
            for lived in futures_util::future::join_all(three).await {
                signed_in += 1;
                // A connection that was superseded before its SYNC was answered has failed.
                if let Ok((raw, entries)) = lived {
                    connections.push(load.listens(raw, &device, from, &entries));
                }
            }
            connections
                .iter()
                .take(before)
                .for_each(WatchedConnection::is_fenced);
        }
        let settled = Instant::now();
        let live = the_last_one(&connections, wave % 2 == 0).await;
        slowest = slowest.max(settled.elapsed());
        load.wait_until_shown(&live, Instant::now()).await;
        survivor = Some(live);
    }
    let last = survivor.expect("there were waves");
    let since = Instant::now();
    load.flows(BETWEEN).await;
    load.wait_until_shown(&last, since).await;
    assert!(!last.has_ended(), "the newest stays");
    let fault = format!("one device signs in {signed_in} times on three nodes");
    let note = format!(
        "one connection is left each time, the newest; the others were closed within {:.2} s",
        slowest.as_secs_f64()
    );
    let served = load.is_served(since).await;
    load.row(cluster, &fault, served, &note).await
}

/// Waits until all connections but one have ended, each with the close code for a newer connection.
async fn the_last_one(connections: &[WatchedConnection], in_order: bool) -> WatchedConnection {
    let mut open: Vec<WatchedConnection> = connections.to_vec();
    while open.len() > 1 {
        WatchedConnection::one_ends(&open).await;
        for ear in open.iter().filter(|ear| ear.has_ended()) {
            let code = ear.ends().await;
            assert_eq!(
                code, SUPERSEDED,
                "a superseded connection ended with code {code}"
            );
        }
        open.retain(|ear| !ear.has_ended());
    }
    let last = open.pop().expect("the newest stays");
    if in_order {
        assert!(connections.last().is_some_and(|newest| newest.is(&last)));
    }
    last
}
