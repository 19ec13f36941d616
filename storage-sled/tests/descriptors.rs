//! A shortage of descriptors is not a broken disk: the storage keeps working and storing.
//!
//! This test runs in a process of its own, because the limit applies to the whole process.

use std::fs::File;
use std::sync::Arc;

use gimlet_core::page::PageLimit;
use gimlet_core::seq::Seq;
use gimlet_core::testkit::helpers::{self, send};
use gimlet_core::time::SystemClock;
use gimlet_storage_sled::{Config, open};

const SENDS: usize = 20;

/// Opens files until the system refuses another one.
fn all_descriptors() -> Vec<File> {
    let mut held = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => held.push(file),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(24), "EMFILE: {error}");
                return held;
            }
        }
    }
}

#[tokio::test]
async fn a_process_without_descriptors_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        min_free: 0,
        ..Config::new(dir.path())
    };
    let it = open(&config, Arc::new(SystemClock)).unwrap();
    let held = all_descriptors();
    let user = helpers::user(1);
    for n in 0..SENDS {
        let batch = [send(&[user], vec![7; 100 * n])];
        it.stores.inbox.append(&batch).await.unwrap();
    }
    let page = it
        .stores
        .inbox
        .after(user, Seq::ZERO, PageLimit::items(100));
    assert_eq!(page.await.unwrap().items.len(), SENDS);
    assert_eq!(it.health.failure(), None);
    drop(held);
}
