//! Runs the contract suite of `gimlet-core` on sled.

#![expect(clippy::unwrap_used, reason = "a failed case should panic")]

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use gimlet_core::store::Stores;
use gimlet_core::testkit::{Backend, Fixture, HoldFlush, Reopen, Suite};
use gimlet_core::time::SystemClock;
use gimlet_storage_sled::{Config, Durability, FlushGate, Health, Opened, open};

fn main() -> ExitCode {
    Suite::new("sled")
        .reopens()
        .holds()
        .run(Backend::Ready(fixture))
}

/// Opens with `Process`, because these cases kill no process and `fsync` would only slow them down.
fn opened(dir: &Path) -> Opened {
    let config = Config {
        durability: Durability::Process,
        ..Config::new(dir)
    };
    open(&config, Arc::new(SystemClock)).unwrap()
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let it = opened(dir.path());
    let gate = Gate(it.flush_gate());
    let reopen = reopen(dir.path().into(), it.health);
    Fixture::new(it.stores, dir)
        .with_reopen(reopen)
        .with_hold(Arc::new(gate))
}

/// Waits until the old stores are closed, and opens their directory again.
fn reopen(dir: Arc<Path>, health: Health) -> Reopen {
    let health = Arc::new(Mutex::new(health));
    Box::new(move |stores: Stores| {
        let (dir, health) = (Arc::clone(&dir), Arc::clone(&health));
        Box::pin(async move {
            drop(stores);
            let old = health.lock().unwrap().clone();
            old.closed().await;
            let it = opened(&dir);
            *health.lock().unwrap() = it.health;
            it.stores
        })
    })
}

struct Gate(FlushGate);

#[async_trait]
impl HoldFlush for Gate {
    fn hold(&self) {
        self.0.hold();
    }

    async fn reached(&self) {
        self.0.reached().await;
    }

    fn release(&self) {
        self.0.release();
    }
}
