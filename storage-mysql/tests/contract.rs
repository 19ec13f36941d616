//! Runs the contract suite on MySQL and Redis.

#![expect(clippy::unwrap_used, reason = "a failed case should panic")]

mod support;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gimlet_core::store::Stores;
use gimlet_core::testkit::{Backend, Fixture, Reopen, Suite};
use support::{Place, Servers};

fn main() -> ExitCode {
    let suite = Suite::new("mysql").reopens();
    match support::servers() {
        Some(servers) => suite.run(Backend::Ready(move || fixture(servers.clone()))),
        None => suite.run(Backend::<fn() -> std::future::Pending<Fixture>>::Missing(
            support::MISSING,
        )),
    }
}

async fn fixture(servers: Servers) -> Fixture {
    let mut place = Place::new(&servers).await;
    // No case of the suite is about time, and the machine may be busy.
    place.config.mysql.deadline = Duration::from_secs(10);
    let place = Arc::new(place);
    let opened = place.open().await;
    let reopen = reopen(Arc::clone(&place), opened.lasting);
    Fixture::new(opened.stores, place).with_reopen(reopen)
}

/// Closes the old connections and opens the storage again, as a restarted node does.
fn reopen(place: Arc<Place>, lasting: gimlet_storage_mysql::Lasting) -> Reopen {
    let lasting = Arc::new(Mutex::new(lasting));
    Box::new(move |stores: Stores| {
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
