//! MariaDB stops, dies, freezes, loses an answer to a COMMIT, and forces deadlocks.

use std::time::Duration;

use gimlet_client::MessageTarget;
use gimlet_kit::backend::PrivateBackend;
use gimlet_kit::database::{SqlConnection, TempDatabase};
use gimlet_kit::proxy::{FaultProxy, ProxyMode};
use gimlet_tests::cluster::NodeCluster;
use gimlet_tests::fault::{FaultLoad, FaultRow, GrpcSender, request, text_bytes};
use tokio::time::Instant;

use crate::fault_stage::{APART, FaultStage, by_run, lasting, outage, over};

/// Number of answers awaited before and after a fault.
const BETWEEN: usize = 40;

/// Longest wait for a batch to reach a lock: longer than the deadline of a send.
const WAITS: Duration = Duration::from_secs(2);

/// A private MariaDB, and a cluster over it.
struct PrivateMysqlCluster {
    cluster: NodeCluster,
    database: TempDatabase,
    backend: PrivateBackend,
}

impl PrivateMysqlCluster {
    async fn new(stage: &FaultStage) -> Self {
        let backend = PrivateBackend::mysql(&stage.shared);
        let database = TempDatabase::new(&backend.servers.mysql).await;
        let cluster = over(&database.url, &backend.servers.redis, APART).await;
        Self {
            cluster,
            database,
            backend,
        }
    }
}

pub(crate) async fn mysql_stops(stage: FaultStage) -> FaultRow {
    let mut place = PrivateMysqlCluster::new(&stage).await;
    let load = FaultLoad::begin(&place.cluster).await;
    load.flows(BETWEEN).await;
    let dropped = load.dropped();
    place.backend.stop();
    outage(10).await;
    place.backend.start_again();
    let served = load.is_served(Instant::now()).await;
    assert_eq!(load.dropped(), dropped, "connections stay");
    load.flows(BETWEEN).await;
    let fault = format!("MariaDB stopped for {}", lasting(10));
    let note = "no client lost its connection";
    load.row(&place.cluster, &fault, served, note).await
}

pub(crate) async fn mysql_is_killed(stage: FaultStage) -> FaultRow {
    let mut place = PrivateMysqlCluster::new(&stage).await;
    let load = FaultLoad::begin(&place.cluster).await;
    let dropped = load.dropped();
    let rounds = by_run(10, 3);
    let mut worst = Duration::ZERO;
    for _ in 0..rounds {
        load.flows(BETWEEN).await;
        place.backend.kill();
        place.backend.start_again();
        worst = worst.max(load.is_served(Instant::now()).await);
    }
    assert_eq!(load.dropped(), dropped, "connections stay");
    load.flows(BETWEEN).await;
    let fault = format!("kill -9 of MariaDB, restarted at once, {rounds} times");
    let note = "no client lost its connection";
    load.row(&place.cluster, &fault, worst, note).await
}

pub(crate) async fn mysql_freezes(stage: FaultStage) -> FaultRow {
    let mut place = PrivateMysqlCluster::new(&stage).await;
    let load = FaultLoad::begin(&place.cluster).await;
    load.flows(BETWEEN).await;
    let dropped = load.dropped();
    let before = load.refused();
    let frozen = Instant::now();
    place.backend.freeze();
    outage(20).await;
    let refused = load.refused();
    assert!(refused > before, "sends are refused meanwhile: {refused:?}");
    place.backend.thaw();
    let served = load.is_served(Instant::now()).await;
    let longest = load.longest_attempt(frozen);
    assert!(
        longest < Duration::from_millis(2_200),
        "a send took {longest:?}"
    );
    assert_eq!(load.dropped(), dropped, "connections stay");
    load.flows(BETWEEN).await;
    let fault = format!("MariaDB frozen for {}", lasting(20));
    let note = format!(
        "every attempt was answered within {:.2} s; no client lost its connection",
        longest.as_secs_f64()
    );
    load.row(&place.cluster, &fault, served, &note).await
}

pub(crate) async fn the_answer_to_a_commit_is_swallowed(stage: FaultStage) -> FaultRow {
    let database = TempDatabase::new(&stage.shared.mysql).await;
    let (host, name) = database.url.rsplit_once('/').unwrap();
    let (credentials, server) = host.rsplit_once('@').unwrap();
    let swallow = FaultProxy::before(server).await;
    let through = format!("{credentials}@{}/{name}", swallow.address);
    let cluster = over(&through, &stage.shared.redis, APART).await;
    let load = FaultLoad::begin(&cluster).await;
    load.pauses().await;
    // Single sends come first, so that the dropped answer is known to be theirs.
    let alone = by_run(20, 5);
    for round in 0..alone {
        unknown_then_repeated(&cluster, &load, &swallow, round).await;
    }
    load.goes_on();
    let rounds = by_run(200, 20);
    let mut worst = Duration::ZERO;
    for _ in 0..rounds {
        let before = swallow.struck();
        swallow.set(ProxyMode::SwallowCommit);
        while swallow.struck() == before {
            load.flows(1).await;
        }
        worst = worst.max(load.is_served(Instant::now()).await);
    }
    let fault = format!("the answer to a COMMIT swallowed, {} times", alone + rounds);
    let note = format!(
        "{alone} sends made one at a time all got 4 and were found stored when repeated; so were {} \
         sends of the load",
        load.repeated()
    );
    load.row(&cluster, &fault, worst, &note).await
}

/// Makes one send whose COMMIT is not answered: the result is unknown, and the send is stored once.
async fn unknown_then_repeated(
    cluster: &NodeCluster,
    load: &FaultLoad,
    swallow: &FaultProxy,
    round: u64,
) {
    let (person, to) = (load.writer(), load.users()[7]);
    let grpc: Vec<_> = cluster.logic.iter().map(|node| node.ports().grpc).collect();
    let caller = GrpcSender::new(&grpc, person);
    let text = format!("swallowed {round}");
    let (content, readers) = (text_bytes(&text), [person.user_id, to]);
    load.judge().begin_send(90, &content, &readers);
    let request = request(MessageTarget::User(to), &text, format!("swallowed-{round}"));
    let before = swallow.struck();
    swallow.set(ProxyMode::SwallowCommit);
    let error = caller.send(0, &request).await.unwrap_err();
    assert_eq!(error.code, 4, "{error}");
    assert_eq!(
        swallow.struck(),
        before + 1,
        "the dropped answer belongs to this send"
    );
    let sent = caller.send(1, &request).await.unwrap();
    assert!(sent.repeated, "the repeat finds the send stored");
    load.judge()
        .confirm_send(&content, Some(&sent.message_id), &readers);
}

pub(crate) async fn transactions_deadlock(stage: FaultStage) -> FaultRow {
    let place = PrivateMysqlCluster::new(&stage).await;
    let load = FaultLoad::begin(&place.cluster).await;
    load.flows(BETWEEN).await;
    let mut watch = SqlConnection::connect(&place.database.url).await;
    let before = watch.deadlocks().await;
    let start = Instant::now();
    let rounds = by_run(300, 30);
    let mut ours = 0;
    let mut saboteur = SqlConnection::connect(&place.database.url).await;
    let users = load.users();
    for _ in 0..rounds {
        // Sends that met a lock are retried separately and wait for no lock: a batch waits at the
        // inbox heads only after all sends of the round before are done.
        load.flows(BETWEEN).await;
        // The server ends the transaction with less to undo, so this one gets much to undo: the
        // victim is gimlet's transaction.
        saboteur.runs("BEGIN").await;
        let heavy = "INSERT INTO device_ack SELECT 99, seq, 1 FROM seq_1_to_2000";
        saboteur.runs(heavy).await;
        // gimlet locks the heads in ascending order, this transaction in descending order.
        let mut first = true;
        for user in users.iter().rev() {
            let lock = format!("UPDATE inbox_head SET floor = floor WHERE user_id = {user}");
            if saboteur.tries(&lock).await.is_err() {
                ours += 1;
                break;
            }
            if std::mem::take(&mut first) {
                // Waits for a statement that has been at the heads longer than it takes without a
                // lock.
                let waits = "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
                             WHERE DB = DATABASE() AND INFO LIKE 'INSERT INTO inbox_head%' \
                             AND TIME_MS > 50";
                let until = Instant::now() + WAITS;
                while watch.number(waits).await == Some(0) && Instant::now() < until {}
            }
        }
        saboteur.runs("ROLLBACK").await;
    }
    let seen = watch.deadlocks().await - before;
    let theirs = seen.saturating_sub(ours);
    assert!(
        theirs * 2 >= rounds,
        "the server saw {seen} deadlocks, {ours} of them ours"
    );
    let gap = load.longest_gap(start);
    load.flows(BETWEEN).await;
    let fault = format!("deadlocks forced, {theirs} of gimlet's transactions ended by the server");
    let note = format!(
        "no sender waited longer than {:.2} s for an answer",
        gap.as_secs_f64()
    );
    let served = load.is_served(Instant::now()).await;
    drop(saboteur);
    load.row(&place.cluster, &fault, served, &note).await
}
