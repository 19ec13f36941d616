//! Data directories that earlier releases wrote open, with all of their messages.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use gimlet_core::time::SystemClock;
use gimlet_storage_sled::{Config, open};

#[path = "../../tests/samples/said.rs"]
mod said;

#[tokio::test]
async fn a_data_directory_of_the_release_before_shows_what_was_stored() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let sample = root.join("tests/samples/format-1/data.tar.gz");
    let dir = tempfile::tempdir().unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(sample).arg("-C").arg(dir.path());
    assert!(tar.status().unwrap().success());
    let config = Config {
        min_free: 0,
        ..Config::new(dir.path())
    };
    let opened = open(&config, Arc::new(SystemClock)).unwrap();
    said::check(&opened.stores).await;
    let health = opened.health.clone();
    drop(opened);
    health.closed().await;
}
