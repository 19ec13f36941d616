//! The test matrix: every scenario on every storage and wire that it covers, as one named test
//! each, for example `sled::tcp::sync_offline::an_absent_device_gets_everything_in_order`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation should panic"
)]

mod scenarios;

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use gimlet_kit::backend::BackendAddresses;
use gimlet_tests::scenario::{MatrixCell, ScenarioStore, ScenarioWire};
use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Builder;
use tokio::time::timeout;

/// Longest duration of one scenario.
const STORY: Duration = Duration::from_mins(1);

/// The wires of the matrix.
const WIRES: [ScenarioWire; 6] = [
    ScenarioWire::Tcp,
    ScenarioWire::Ws,
    ScenarioWire::Tls,
    ScenarioWire::Wss,
    ScenarioWire::Json,
    ScenarioWire::Events,
];

/// Message of the cluster's tests without MySQL and Redis.
const MISSING: &str = "GIMLET_TEST_MYSQL and GIMLET_TEST_REDIS are not set: run it by \
                       tests/backends/with, which brings both servers";

/// A running scenario.
type ScenarioRun<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Cells of the matrix that a scenario covers.
#[derive(Clone, Copy)]
enum CoveredCells {
    /// Every cell.
    Every,
    /// Storages that outlive the server process.
    Durable,
    /// Every storage except the cluster; the scenario gives the reason.
    OneProcess,
    /// Wires that carry packets in any encoding, because the scenario is about wrong packets.
    Packets,
    /// Wires of protobuf, because the scenario is about its bytes or about clients of gim.
    Protobuf,
    /// One wire, because the scenario is about its bytes.
    Only(ScenarioWire),
}

/// One scenario.
struct ScenarioCase {
    name: &'static str,
    on: CoveredCells,
    tell: for<'a> fn(&'a MatrixCell) -> ScenarioRun<'a>,
}

impl ScenarioCase {
    fn is_about(&self, store: ScenarioStore, wire: ScenarioWire) -> bool {
        // TLS is the same in front of every storage.
        if wire.is_encrypted() && store != ScenarioStore::Memory {
            return false;
        }
        match self.on {
            CoveredCells::Every => true,
            CoveredCells::OneProcess => store != ScenarioStore::Cluster,
            CoveredCells::Durable => store != ScenarioStore::Memory,
            CoveredCells::Packets => wire != ScenarioWire::Events,
            CoveredCells::Protobuf => wire.bridged().is_none(),
            CoveredCells::Only(only) => wire == only,
        }
    }
}

/// Lists the scenarios of a topic: `stories!(topic, CoveredCells::Every => [one, two])`.
macro_rules! stories {
    ($topic:ident, $($on:expr => [$($name:ident),* $(,)?]),+ $(,)?) => {
        vec![$($(
            crate::ScenarioCase {
                name: concat!(stringify!($topic), "::", stringify!($name)),
                on: $on,
                tell: |cell| Box::pin($name(cell)),
            },
        )*)+]
    };
}
use stories;

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let servers = BackendAddresses::of_environment();
    let mut trials = Vec::new();
    for scenario in scenarios::all() {
        for store in [
            ScenarioStore::Memory,
            ScenarioStore::Sled,
            ScenarioStore::Cluster,
        ] {
            for wire in WIRES {
                if scenario.is_about(store, wire) {
                    let name = format!("{store}::{wire}::{}", scenario.name);
                    let tell = scenario.tell;
                    let missing = store == ScenarioStore::Cluster && servers.is_none();
                    let trial = Trial::test(name, move || {
                        if missing {
                            return Err(MISSING.into());
                        }
                        run(&MatrixCell::new(store, wire), tell);
                        Ok(())
                    });
                    // Missing servers are a failure where they are required, otherwise an ignored
                    // test.
                    trials.push(
                        trial.with_ignored_flag(missing && !BackendAddresses::are_required()),
                    );
                }
            }
        }
    }
    libtest_mimic::run(&args, trials).exit_code()
}

/// Runs a scenario on a runtime of its own and stops its server.
fn run(cell: &MatrixCell, tell: for<'a> fn(&'a MatrixCell) -> ScenarioRun<'a>) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let told = timeout(STORY, tell(cell)).await;
        assert!(told.is_ok(), "the scenario did not end within {STORY:?}");
        cell.end().await;
    });
}
