//! A connection that never reads queues at most its outbound budget, and loses nothing.
//!
//! `gimlet-slow` does the same with 64 MiB and also measures the latency of the others.

use gimlet_core::limits::Limits;
use gimlet_server::Server;
use gimlet_server::config::{Config, StorageDurability, StorageKind};
use gimlet_tests::slow_reader;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_never_reads_is_served_from_its_inbox() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::embedded();
    config.data_dir = folder.path().to_owned();
    config.storage.kind = StorageKind::Sled;
    config.storage.durability = StorageDurability::Process;
    let server = Server::start(config).await.unwrap();
    // More than the buffers of the sockets hold.
    let messages = 300;
    let outcome = slow_reader::run(&server, messages, 60 * 1024, true)
        .await
        .unwrap();
    assert!(
        outcome.queued <= Limits::default().outbox_bytes,
        "{} queued",
        outcome.queued
    );
    assert!(outcome.queued > 0, "the connection fell behind");
    assert_eq!(outcome.caught_up, messages);
    server.stop().await.unwrap();
}
