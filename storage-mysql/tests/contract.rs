//! Runs the contract suite on MySQL and Redis.

#![expect(clippy::unwrap_used, reason = "a failed case should panic")]

mod support;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gimlet_core::store::StoreSet;
use gimlet_core::testkit::{ContractSuite, ReopenStores, StoreFixture, TestBackend};
use gimlet_kit::backend::BackendAddresses;
use support::TestDatabase;

fn main() -> ExitCode {
    let suite = ContractSuite::new("mysql").reopens();
    match BackendAddresses::of_environment() {
        Some(servers) => suite.run(TestBackend::Ready(move || fixture(servers.clone()))),
        None => suite.run(
            TestBackend::<fn() -> std::future::Pending<StoreFixture>>::Missing(support::MISSING),
        ),
    }
}

async fn fixture(servers: BackendAddresses) -> StoreFixture {
    let mut place = TestDatabase::new(&servers).await;
    // No case of the suite is about time, and the machine may be busy.
    place.config.mysql.deadline = Duration::from_secs(10);
    let place = Arc::new(place);
    let opened = place.open().await;
    let reopen = reopen(Arc::clone(&place), opened.lasting);
    StoreFixture::new(opened.stores, place).with_reopen(reopen)
}

/// Closes the old connections and opens the storage again, as a restarted node does.
fn reopen(place: Arc<TestDatabase>, lasting: gimlet_storage_mysql::MysqlStores) -> ReopenStores {
    let lasting = Arc::new(Mutex::new(lasting));
    Box::new(move |stores: StoreSet| {
        let (place, lasting) = (Arc::clone(&place), Arc::clone(&lasting));
        Box::pin(async move {
            drop(stores);
            let old = lasting.lock().unwrap().clone();
            old.close().await;
            let opened = place.open().await;
            *lasting.lock().unwrap() = opened.lasting;
            opened.stores
        })
    })
}
