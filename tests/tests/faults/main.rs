//! Fault tests: each fault hits real processes under a steady load, with every answered send
//! checked and the time until service is restored. A table is printed at the end.
//!
//! Outages last 3 s, or with `GIMLET_TEST_LONG=1` (`tests/run --long`) as long as the documentation
//! promises. Only the length of an outage is waited for by the clock.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a fault that is not survived should panic"
)]

mod device;
mod failover;
mod fault_stage;
mod group;
mod lossy;
mod mysql;
mod node;
mod redis;

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gimlet_kit::backend::BackendAddresses;
use gimlet_tests::fault::{FaultRow, is_long, table};
use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Builder;
use tokio::time::timeout;

use fault_stage::FaultStage;

/// Longest duration of one fault test, in the short and in the long run.
const MAX_DURATION: (Duration, Duration) = (Duration::from_mins(3), Duration::from_mins(20));

/// Number of concurrent faults, each with a cluster of its own. They wait more than they work.
const AT_ONCE: usize = 3;

type FaultFuture = Pin<Box<dyn Future<Output = FaultRow>>>;
type FaultCase = (&'static str, fn(FaultStage) -> FaultFuture);

macro_rules! faults {
    ($($module:ident::$name:ident),+ $(,)?) => {
        &[$((stringify!($name), |stage| Box::pin($module::$name(stage)))),+]
    };
}

/// The longest ones come first.
const FAULTS: &[FaultCase] = faults![
    group::a_logic_node_dies_between_the_parts_of_a_group_send,
    redis::redis_dies_and_comes_back_empty,
    device::a_device_signs_in_on_three_nodes_again_and_again,
    group::a_member_is_removed_while_sends_are_under_way,
    mysql::mysql_freezes,
    redis::redis_freezes,
    device::a_connect_node_freezes_while_its_devices_sign_in_elsewhere,
    failover::the_primary_is_handed_over_and_back,
    failover::the_primary_is_killed_and_its_replica_promoted,
    lossy::a_replica_without_the_latest_commits_is_promoted,
    failover::the_master_of_sentinels_is_killed,
    failover::a_master_of_a_redis_cluster_is_killed,
    mysql::mysql_stops,
    mysql::mysql_is_killed,
    redis::redis_forgets_everything,
    node::a_connect_node_is_killed,
    node::a_logic_node_is_killed_in_mid_send,
    node::every_node_is_restarted_in_turn,
    mysql::the_answer_to_a_commit_is_swallowed,
    mysql::transactions_deadlock,
];

static ROWS: Mutex<Vec<(usize, FaultRow)>> = Mutex::new(Vec::new());

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    args.test_threads.get_or_insert(AT_ONCE);
    let servers = BackendAddresses::of_environment();
    let trials = FAULTS.iter().enumerate().map(|(at, (name, tell))| {
        let (servers, tell) = (servers.clone(), *tell);
        let missing = servers.is_none();
        let trial = Trial::test(*name, move || {
            let row = run(
                FaultStage::new(servers.ok_or("there are no servers")?),
                tell,
            );
            let mut rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
            rows.push((at, row));
            Ok(())
        });
        trial.with_ignored_flag(missing)
    });
    let done = libtest_mimic::run(&args, trials.collect());
    let mut rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    rows.sort_by_key(|(at, _)| *at);
    if !rows.is_empty() {
        let rows: Vec<FaultRow> = rows.iter().map(|(_, row)| row.clone()).collect();
        println!("{}", table(&rows));
    }
    if servers.is_none() {
        println!(
            "GIMLET_TEST_MYSQL and GIMLET_TEST_REDIS are not set: run it by tests/backends/with"
        );
        if BackendAddresses::are_required() {
            return ExitCode::FAILURE;
        }
    }
    done.exit_code()
}

fn run(stage: FaultStage, test: fn(FaultStage) -> FaultFuture) -> FaultRow {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    let max_duration = if is_long() {
        MAX_DURATION.1
    } else {
        MAX_DURATION.0
    };
    runtime.block_on(async {
        let done = timeout(max_duration, test(stage)).await;
        done.unwrap_or_else(|_| panic!("not over within {max_duration:?}"))
    })
}
