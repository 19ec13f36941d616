//! The matrix: every scenario on every storage and wire it is about, as one named test each, such
//! as `sled::tcp::sync_offline::an_absent_device_gets_everything_in_order`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a story that does not come true should panic"
)]

mod scenarios;

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use gimlet_tests::cluster::Servers;
use gimlet_tests::scenario::{Cell, Store, Wire};
use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Builder;
use tokio::time::timeout;

/// How long a whole story may take.
const STORY: Duration = Duration::from_mins(1);

/// What the cluster's column lacks.
const MISSING: &str = "GIMLET_TEST_MYSQL and GIMLET_TEST_REDIS are not set: run it by \
                       tests/backends/with, which brings both servers";

/// A story while it is told.
type Told<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The cells that a story is about.
#[derive(Clone, Copy)]
enum On {
    /// All of them.
    Every,
    /// Storage that outlives a server.
    Durable,
    /// All but the cluster; the story says why.
    OneProcess,
    /// One wire, because the story is about its bytes.
    Only(Wire),
}

/// One story.
struct Scenario {
    name: &'static str,
    on: On,
    tell: for<'a> fn(&'a Cell) -> Told<'a>,
}

impl Scenario {
    fn is_about(&self, store: Store, wire: Wire) -> bool {
        match self.on {
            On::Every => true,
            On::OneProcess => store != Store::Cluster,
            On::Durable => store != Store::Memory,
            On::Only(only) => wire == only,
        }
    }
}

/// Lists the stories of a topic: `stories!(topic, On::Every: one, two)`.
macro_rules! stories {
    ($topic:ident, $($on:expr => [$($name:ident),* $(,)?]),+ $(,)?) => {
        vec![$($(
            crate::Scenario {
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
    let servers = Servers::of_environment();
    let mut trials = Vec::new();
    for scenario in scenarios::all() {
        for store in [Store::Memory, Store::Sled, Store::Cluster] {
            for wire in [Wire::Tcp, Wire::Ws] {
                if scenario.is_about(store, wire) {
                    let name = format!("{store}::{wire}::{}", scenario.name);
                    let tell = scenario.tell;
                    let missing = store == Store::Cluster && servers.is_none();
                    let trial = Trial::test(name, move || {
                        if missing {
                            return Err(MISSING.into());
                        }
                        run(&Cell::new(store, wire), tell);
                        Ok(())
                    });
                    // Where they are required, their lack is a failure.
                    trials.push(trial.with_ignored_flag(missing && !Servers::are_required()));
                }
            }
        }
    }
    libtest_mimic::run(&args, trials).exit_code()
}

/// Tells a story on a runtime of its own, and stops its server.
fn run(cell: &Cell, tell: for<'a> fn(&'a Cell) -> Told<'a>) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let told = timeout(STORY, tell(cell)).await;
        assert!(told.is_ok(), "the story did not end within {STORY:?}");
        cell.end().await;
    });
}
