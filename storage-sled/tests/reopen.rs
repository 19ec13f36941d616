//! Directories that do not open, each with an error that gives the reason and the remedy, and
//! directories that open again.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use gimlet_core::page::PageLimit;
use gimlet_core::seq::Seq;
use gimlet_core::store::{StoreErrorKind, StoreSet};
use gimlet_core::testkit::helpers::{send, user};
use gimlet_core::time::SystemClock;
use gimlet_storage_sled::{Config, OpenError, OpenStorage, open};

fn config(dir: &Path) -> Config {
    Config {
        min_free: 0,
        ..Config::new(dir)
    }
}

fn opened(dir: &Path) -> OpenStorage {
    open(&config(dir), Arc::new(SystemClock)).unwrap()
}

fn refused(dir: &Path) -> OpenError {
    open(&config(dir), Arc::new(SystemClock)).unwrap_err()
}

async fn close(it: OpenStorage) {
    let health = it.health.clone();
    drop(it);
    health.closed().await;
}

async fn put(stores: &StoreSet, content: &[u8]) {
    let batch = [send(&[user(1)], content.to_vec())];
    stores.inbox.append(&batch).await.unwrap();
}

async fn contents(stores: &StoreSet) -> Vec<Vec<u8>> {
    let user = user(1);
    let page = stores.inbox.after(user, Seq::ZERO, PageLimit::items(1_000));
    let items = page.await.unwrap().items;
    items
        .iter()
        .map(|it| it.message.content.0.to_vec())
        .collect()
}

#[tokio::test]
async fn what_was_stored_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let it = opened(dir.path());
    let epoch = it.epoch;
    put(&it.stores, b"hi").await;
    close(it).await;
    let it = opened(dir.path());
    assert_eq!(contents(&it.stores).await, [b"hi"]);
    assert_eq!(it.epoch, epoch);
    assert_eq!(it.stores.seq.epoch().await.unwrap(), epoch);
}

#[tokio::test]
async fn missing_folders_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let it = opened(&dir.path().join("a/b/c"));
    put(&it.stores, b"hi").await;
}

#[tokio::test]
async fn a_second_opening_is_refused_while_the_first_lives() {
    let dir = tempfile::tempdir().unwrap();
    let it = opened(dir.path());
    let error = refused(dir.path());
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains(&format!("process {}", std::process::id())),
        "{text}"
    );
    put(&it.stores, b"the first goes on").await;
    close(it).await;
    opened(dir.path());
}

#[test]
fn another_format_is_named() {
    let dir = tempfile::tempdir().unwrap();
    drop(opened(dir.path()));
    let format = dir.path().join("FORMAT");
    let ours = fs::read_to_string(&format).unwrap();
    // A newer format, and the previous one.
    for other in ["999", "1"] {
        fs::write(&format, ours.replace('2', other)).unwrap();
        let error = refused(dir.path());
        assert!(matches!(error, OpenError::Format { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(other) && text.contains("format 2"), "{text}");
    }
    // The refusal changed nothing: with its own format back, the directory opens.
    fs::write(&format, ours).unwrap();
    opened(dir.path());
}

#[test]
fn a_database_of_someone_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = sled::open(dir.path()).unwrap();
    foreign.insert("their", "data").unwrap();
    drop(foreign);
    let error = refused(dir.path());
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
}

#[test]
fn an_interrupted_creation_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    drop(opened(dir.path()));
    // The state that a process leaves that was killed while it created the directory.
    fs::rename(dir.path().join("FORMAT"), dir.path().join("FORMAT.new")).unwrap();
    drop(opened(dir.path()));
    assert!(dir.path().join("FORMAT").exists());
    fs::write(dir.path().join("FORMAT.new"), "").unwrap();
    opened(dir.path());
}

#[test]
fn a_file_is_not_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = refused(&file);
    assert!(matches!(error, OpenError::NotADirectory { .. }), "{error}");
    let error = refused(&file.join("below"));
    assert!(matches!(error, OpenError::NotADirectory { .. }), "{error}");
}

#[test]
fn a_place_that_takes_no_files_is_unusable() {
    let error = refused(Path::new("/proc/gimlet"));
    assert!(matches!(error, OpenError::Unusable { .. }), "{error}");
    assert!(error.source().is_some());
    assert!(error.to_string().contains("/proc/gimlet"), "{error}");
}

#[tokio::test]
async fn a_half_written_snapshot_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let it = opened(dir.path());
    put(&it.stores, b"hi").await;
    close(it).await;
    // sled takes the name that sorts last for its newest snapshot, and cannot open with this one.
    let planted = dir.path().join("snap.FFFFFFFFFFFFFFFF.generating");
    fs::write(&planted, b"half").unwrap();
    let it = opened(dir.path());
    assert_eq!(contents(&it.stores).await, [b"hi"]);
    assert!(!planted.exists());
}

/// Fills a directory, opens it once more so that sled writes a snapshot, and closes it.
async fn filled(dir: &Path) {
    let it = opened(dir);
    for n in 0..200_u8 {
        put(&it.stores, &vec![n; 3_000]).await;
    }
    close(it).await;
    close(opened(dir)).await;
}

#[tokio::test]
async fn an_emptied_database_is_named() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "db" || name.starts_with("snap.") {
            fs::remove_file(&path).unwrap();
        }
    }
    let error = refused(dir.path());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_zeroed_database_is_named() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let db = dir.path().join("db");
    let length = fs::metadata(&db).unwrap().len();
    let mut file = fs::OpenOptions::new().write(true).open(&db).unwrap();
    file.write_all(&vec![0; usize::try_from(length).unwrap()])
        .unwrap();
    let error = refused(dir.path());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_full_disk_refuses_sends_and_serves_reads() {
    let dir = tempfile::tempdir().unwrap();
    let it = opened(dir.path());
    put(&it.stores, b"hi").await;
    close(it).await;
    let stat = rustix::fs::statvfs(dir.path()).unwrap();
    let full = |min_free| Config {
        min_free,
        ..Config::new(dir.path())
    };
    // Less space is free than sends need, and more than removals need.
    let config = full(4 * stat.f_bavail * stat.f_frsize);
    let it = open(&config, Arc::new(SystemClock)).unwrap();
    let batch = [send(&[user(1)], b"more".to_vec())];
    let error = it.stores.inbox.append(&batch).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Full);
    assert!(error.source().unwrap().to_string().contains("free"));
    assert_eq!(contents(&it.stores).await, [b"hi"]);
    let user = user(1);
    it.stores.inbox.trim(user, Seq::new(1)).await.unwrap();
    assert_eq!(it.health.failure(), None);
    close(it).await;
    // No change is allowed at all: a commit that finds no space would fail the storage.
    let it = open(&full(u64::MAX), Arc::new(SystemClock)).unwrap();
    let error = it.stores.inbox.trim(user, Seq::new(1)).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Full);
    assert_eq!(it.health.failure(), None);
}

#[tokio::test]
async fn after_an_error_of_the_disk_nothing_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let it = opened(dir.path());
    put(&it.stores, b"hi").await;
    // A sync opens and syncs every file in this folder. This one cannot be synced, so a commit
    // fails after it was applied and before it is durable.
    std::os::unix::fs::symlink("/dev/null", dir.path().join("blobs/1")).unwrap();
    let batch = [send(&[user(1)], b"more".to_vec())];
    let error = it.stores.inbox.append(&batch).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unknown);
    assert!(it.health.failed().await.contains("Invalid argument"));
    let error = it.stores.inbox.append(&batch).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable);
    let user = user(1);
    let error = it.stores.seq.heads(&[user]).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable);
    close(it).await;
    fs::remove_file(dir.path().join("blobs/1")).unwrap();
    let it = opened(dir.path());
    assert_eq!(contents(&it.stores).await[0], b"hi");
}

#[tokio::test]
async fn large_messages_stay_out_of_files_that_are_never_synced() {
    let dir = tempfile::tempdir().unwrap();
    let it = opened(dir.path());
    for n in 0..64_u8 {
        let batch = vec![send(&[user(1)], vec![n; 60 * 1024]); 4];
        it.stores.inbox.append(&batch).await.unwrap();
    }
    assert_eq!(contents(&it.stores).await.len(), 256);
    let blobs = fs::read_dir(dir.path().join("blobs")).unwrap().count();
    assert_eq!(blobs, 0);
}
