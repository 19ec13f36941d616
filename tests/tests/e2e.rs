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

use gimlet_tests::scenario::{Cell, Store, Wire};
use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Builder;
use tokio::time::timeout;

/// How long a whole story may take.
const STORY: Duration = Duration::from_mins(1);

/// A story while it is told.
type Told<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The cells that a story is about.
#[derive(Clone, Copy)]
enum On {
    /// All four.
    Every,
    /// Storage that outlives a server.
    Durable,
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
            On::Durable => store == Store::Sled,
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
    let mut trials = Vec::new();
    for scenario in scenarios::all() {
        for store in [Store::Memory, Store::Sled] {
            for wire in [Wire::Tcp, Wire::Ws] {
                if scenario.is_about(store, wire) {
                    let name = format!("{store}::{wire}::{}", scenario.name);
                    let tell = scenario.tell;
                    trials.push(Trial::test(name, move || {
                        run(&Cell::new(store, wire), tell);
                        Ok(())
                    }));
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
