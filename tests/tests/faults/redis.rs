//! Redis loses its data, dies, freezes. It holds no durable data: sends continue, and entries that
//! were not pushed meanwhile are delivered after its return, without any new send.

use std::time::Duration;

use gimlet_kit::backend::PrivateBackend;
use gimlet_kit::database::TempDatabase;
use gimlet_tests::cluster::NodeCluster;
use gimlet_tests::fault::{FaultLoad, FaultRow};
use tokio::time::Instant;

use crate::device::{SUPERSEDED, connect_watched};
use crate::fault_stage::{APART, FaultStage, by_run, lasting, outage, over};

/// Number of answers awaited before and after a fault.
const BETWEEN: usize = 40;
/// Longest time from the return of Redis until everything is served.
const PROMISE: Duration = Duration::from_secs(10);

/// A private Redis, and a cluster over it.
struct PrivateRedisCluster {
    cluster: NodeCluster,
    _database: TempDatabase,
    backend: PrivateBackend,
}

impl PrivateRedisCluster {
    async fn new(stage: &FaultStage) -> Self {
        let backend = PrivateBackend::redis(&stage.shared);
        let database = TempDatabase::new(&backend.servers.mysql).await;
        let cluster = over(&database.url, &backend.servers.redis, APART).await;
        Self {
            cluster,
            _database: database,
            backend,
        }
    }
}

/// Checks that devices sign in and read, and that sends are answered: all of this works without
/// Redis. Then pauses the sends.
async fn goes_on_without(place: &PrivateRedisCluster, load: &mut FaultLoad, began: Instant) {
    // A device that moves is served at its new node only.
    load.reads_one(&place.cluster, 0, load.users()[4]).await;
    let device = place.cluster.sign_in(load.number(0)).await;
    let old = connect_watched(&place.cluster, load, 1, &device)
        .await
        .unwrap();
    connect_watched(&place.cluster, load, 0, &device)
        .await
        .unwrap();
    old.is_fenced();
    assert_eq!(old.ends().await, SUPERSEDED);
    for connect in 0..2 {
        let number = load.number(connect).to_owned();
        let device = place.cluster.sign_in(&number).await;
        place.cluster.phone(&device, connect).await;
    }
    load.reads(&place.cluster, 1).await;
    load.flows(BETWEEN).await;
    let gap = load.longest_gap(began);
    assert!(gap < Duration::from_secs(3), "a sender waited {gap:?}");
    load.pauses().await;
    load.reads(&place.cluster, 0).await;
}

/// Waits until everything sent was shown, without any further send, after the return of Redis; then
/// until live pushes work again. Returns both durations.
async fn is_served_by_itself(load: &FaultLoad, back: Instant) -> (Duration, Duration) {
    let quiet = Instant::now();
    let whole = load.is_complete(PROMISE).await;
    let whole = whole.max(quiet).duration_since(quiet);
    load.goes_on();
    let live = load.is_served(back).await;
    assert!(
        live < PROMISE + Duration::from_secs(1),
        "live after {live:?}"
    );
    (whole, live)
}

fn note(whole: Duration, live: Duration) -> String {
    format!(
        "what was sent meanwhile was shown after {:.2} s without new sends; live after {:.2} s; \
         devices signed in and read meanwhile",
        whole.as_secs_f64(),
        live.as_secs_f64()
    )
}

pub(crate) async fn redis_forgets_everything(stage: FaultStage) -> FaultRow {
    let place = PrivateRedisCluster::new(&stage).await;
    let mut load = FaultLoad::begin(&place.cluster).await;
    let rounds = by_run(10, 2);
    let (mut whole, mut live) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..rounds {
        load.flows(BETWEEN).await;
        let device = place.cluster.sign_in(load.number(0)).await;
        let old = connect_watched(&place.cluster, &mut load, 1, &device)
            .await
            .unwrap();
        let flushed = Instant::now();
        place.backend.flush_all();
        // The device's route was lost with the other data; the move must work without it.
        connect_watched(&place.cluster, &mut load, 0, &device)
            .await
            .unwrap();
        old.is_fenced();
        assert_eq!(old.ends().await, SUPERSEDED);
        goes_on_without(&place, &mut load, flushed).await;
        let (whole_now, live_now) = is_served_by_itself(&load, flushed).await;
        (whole, live) = (whole.max(whole_now), live.max(live_now));
    }
    load.flows(BETWEEN).await;
    let fault = format!("Redis FLUSHALL, {rounds} times");
    load.row(&place.cluster, &fault, live, &note(whole, live))
        .await
}

pub(crate) async fn redis_dies_and_comes_back_empty(stage: FaultStage) -> FaultRow {
    let mut place = PrivateRedisCluster::new(&stage).await;
    let mut load = FaultLoad::begin(&place.cluster).await;
    load.flows(BETWEEN).await;
    let killed = Instant::now();
    place.backend.kill();
    outage(30).await;
    goes_on_without(&place, &mut load, killed).await;
    assert!(load.judge().unshown() > 0, "not everything was pushed");
    place.backend.start_again();
    let (whole, live) = is_served_by_itself(&load, Instant::now()).await;
    load.flows(BETWEEN).await;
    let fault = format!("Redis killed for {} and restarted empty", lasting(30));
    load.row(&place.cluster, &fault, whole.max(live), &note(whole, live))
        .await
}

pub(crate) async fn redis_freezes(stage: FaultStage) -> FaultRow {
    let mut place = PrivateRedisCluster::new(&stage).await;
    let mut load = FaultLoad::begin(&place.cluster).await;
    load.flows(BETWEEN).await;
    let frozen = Instant::now();
    place.backend.freeze();
    outage(10).await;
    goes_on_without(&place, &mut load, frozen).await;
    assert!(load.judge().unshown() > 0, "not everything was pushed");
    place.backend.thaw();
    let (whole, live) = is_served_by_itself(&load, Instant::now()).await;
    load.flows(BETWEEN).await;
    let fault = format!("Redis frozen for {}", lasting(10));
    load.row(&place.cluster, &fault, whole.max(live), &note(whole, live))
        .await
}
