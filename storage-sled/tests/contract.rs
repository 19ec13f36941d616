//! Runs the contract suite of `gimlet-core` on sled.

#![expect(clippy::unwrap_used, reason = "a failed case should panic")]

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use gimlet_core::store::StoreSet;
use gimlet_core::testkit::{ContractSuite, FlushControl, ReopenStores, StoreFixture, TestBackend};
use gimlet_core::time::SystemClock;
use gimlet_storage_sled::{Config, DurabilityLevel, FlushGate, OpenStorage, StorageHealth, open};

fn main() -> ExitCode {
    ContractSuite::new("sled")
        .reopens()
        .holds()
        .run(TestBackend::Ready(fixture))
}

/// Opens with `Process`, because these cases kill no process and `fsync` would only slow them down.
fn opened(dir: &Path) -> OpenStorage {
    let config = Config {
        durability: DurabilityLevel::Process,
        ..Config::new(dir)
    };
    open(&config, Arc::new(SystemClock)).unwrap()
}

async fn fixture() -> StoreFixture {
    let dir = tempfile::tempdir().unwrap();
    let it = opened(dir.path());
    let gate = GateAdapter(it.flush_gate());
    let reopen = reopen(dir.path().into(), it.health);
    StoreFixture::new(it.stores, dir)
        .with_reopen(reopen)
        .with_flush_control(Arc::new(gate))
}

/// Waits until the old stores are closed, and opens their directory again.
fn reopen(dir: Arc<Path>, health: StorageHealth) -> ReopenStores {
    let health = Arc::new(Mutex::new(health));
    Box::new(move |stores: StoreSet| {
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

struct GateAdapter(FlushGate);

#[async_trait]
impl FlushControl for GateAdapter {
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
