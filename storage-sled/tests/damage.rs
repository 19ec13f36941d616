//! Directories damaged by disks or people: either the opening refuses them with an explanation, or
//! no message is lost.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gimlet_core::id::Epoch;
use gimlet_core::page::PageLimit;
use gimlet_core::seq::Seq;
use gimlet_core::testkit::helpers::{send, user};
use gimlet_core::time::SystemClock;
use gimlet_storage_sled::{Config, DurabilityLevel, OpenError, OpenStorage, new_epoch, open};

/// Messages before the last opening, which a snapshot covers, and after it.
const BEFORE: usize = 60;
const AFTER: usize = 300;
/// Bits that are flipped, one at a time, spread over the database.
const FLIPS: usize = 60;

fn config(dir: &Path) -> Config {
    Config {
        min_free: 0,
        ..Config::new(dir)
    }
}

fn try_open(dir: &Path) -> Result<OpenStorage, OpenError> {
    open(&config(dir), Arc::new(SystemClock))
}

async fn close(it: OpenStorage) {
    let health = it.health.clone();
    drop(it);
    health.closed().await;
}

/// Returns the content of one message; some are long, so that the log has several segments.
fn content(n: usize) -> Vec<u8> {
    let mut content = format!("message {n} ").into_bytes();
    content.resize([100, 3_500, 9_000][n % 3], b'x');
    content
}

async fn put(it: &OpenStorage, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let batch = [send(&[user(1)], content(n))];
        it.stores.inbox.append(&batch).await.unwrap();
    }
}

/// Returns the stored contents; an error means that the reader learns of the damage.
async fn contents(it: &OpenStorage) -> Result<Vec<Vec<u8>>, gimlet_core::store::StoreError> {
    let limit = PageLimit {
        items: 1_000,
        bytes: usize::MAX,
    };
    let page = it.stores.inbox.after(user(1), Seq::ZERO, limit).await?;
    let items = page.items.iter();
    Ok(items.map(|it| it.message.content.0.to_vec()).collect())
}

fn all() -> Vec<Vec<u8>> {
    (0..BEFORE + AFTER).map(content).collect()
}

/// Fills a directory that has a snapshot in the middle of its history.
async fn filled(dir: &Path) -> Epoch {
    let it = try_open(dir).unwrap();
    put(&it, 0..BEFORE).await;
    close(it).await;
    let it = try_open(dir).unwrap();
    put(&it, BEFORE..BEFORE + AFTER).await;
    let epoch = it.epoch;
    close(it).await;
    epoch
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn snapshot(dir: &Path) -> PathBuf {
    let names = fs::read_dir(dir).unwrap().map(|it| it.unwrap().path());
    let snapshots = names.filter(|it| it.to_string_lossy().contains("/snap."));
    snapshots.max().unwrap()
}

/// Flips a bit of the last message, like a disk that did not keep it.
fn harm_last(dir: &Path, number: usize) {
    let db = dir.join("db");
    let mut bytes = fs::read(&db).unwrap();
    let mark = format!("message {number} ").into_bytes();
    let at = bytes
        .windows(mark.len())
        .rposition(|it| it == mark)
        .unwrap();
    bytes[at] ^= 1;
    fs::write(&db, bytes).unwrap();
}

#[tokio::test]
async fn a_flipped_bit_is_refused_or_harms_nothing() {
    let whole = tempfile::tempdir().unwrap();
    filled(whole.path()).await;
    let db = fs::read(whole.path().join("db")).unwrap();
    let (mut refused, mut told, mut unharmed) = (0, 0, 0);
    for flip in 0..FLIPS {
        let dir = tempfile::tempdir().unwrap();
        copy(whole.path(), dir.path());
        let mut bytes = db.clone();
        let at = flip * bytes.len() / FLIPS + 37 * flip % 97;
        bytes[at] ^= 1 << (flip % 8);
        fs::write(dir.path().join("db"), bytes).unwrap();
        match try_open(dir.path()) {
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("backup"), "byte {at}: {text}");
                refused += 1;
            }
            Ok(it) => match contents(&it).await {
                Ok(found) => {
                    assert!(found == all(), "byte {at}: {} of the messages", found.len());
                    unharmed += 1;
                }
                Err(_) => told += 1,
            },
        }
    }
    println!("{refused} refused, {told} told at a read, {unharmed} harmed nothing");
    assert!(refused > 0);
}

#[tokio::test]
async fn a_refusal_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let db = dir.path().join("db");
    let whole = fs::read(&db).unwrap();
    let mark = format!("message {} ", BEFORE + AFTER / 2).into_bytes();
    let mut bytes = whole.clone();
    let at = bytes.windows(mark.len()).position(|it| it == mark).unwrap();
    bytes[at] ^= 1;
    fs::write(&db, &bytes).unwrap();
    let error = try_open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("backup"), "{error}");
    assert!(fs::read(&db).unwrap() == bytes, "sled has written to it");
    // So the damage can still be repaired.
    fs::write(&db, &whole).unwrap();
    let it = try_open(dir.path()).unwrap();
    assert!(contents(&it).await.unwrap() == all());
}

#[tokio::test]
async fn a_lost_tail_is_refused_until_a_new_epoch_is_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let before = filled(dir.path()).await;
    harm_last(dir.path(), BEFORE + AFTER - 1);
    let error = try_open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Lost { .. }), "{error}");
    assert!(error.to_string().contains("gimlet new-epoch"), "{error}");
    let drawn = new_epoch(&config(dir.path()), Arc::new(SystemClock));
    let (former, epoch) = drawn.unwrap();
    assert_eq!(former, before);
    assert_ne!(epoch, before);
    let it = try_open(dir.path()).unwrap();
    assert_eq!(it.epoch, epoch);
    assert!(contents(&it).await.unwrap() == all()[..BEFORE + AFTER - 1]);
    put(&it, 1_000..1_100).await;
    close(it).await;
    let it = try_open(dir.path()).unwrap();
    assert_eq!(it.epoch, epoch);
    assert_eq!(contents(&it).await.unwrap().len(), BEFORE + AFTER + 99);
}

#[tokio::test]
async fn under_process_a_lost_tail_begins_a_new_epoch_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let before = filled(dir.path()).await;
    // The state that a loss of power may leave, which `process` does not cover.
    harm_last(dir.path(), BEFORE + AFTER - 1);
    let config = Config {
        durability: DurabilityLevel::Process,
        ..config(dir.path())
    };
    let it = open(&config, Arc::new(SystemClock)).unwrap();
    assert_ne!(it.epoch, before);
}

#[tokio::test]
async fn a_damaged_snapshot_is_set_aside_and_the_log_is_read() {
    type DamageSnapshot = fn(&mut Vec<u8>);
    let harms: [(&str, DamageSnapshot); 3] = [
        ("empty", Vec::clear),
        ("torn", |bytes| bytes.truncate(bytes.len() / 2)),
        ("flipped", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x55;
        }),
    ];
    for (what, harm) in harms {
        let dir = tempfile::tempdir().unwrap();
        let epoch = filled(dir.path()).await;
        let path = snapshot(dir.path());
        let mut bytes = fs::read(&path).unwrap();
        harm(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        let it = try_open(dir.path()).unwrap();
        assert_eq!(it.epoch, epoch, "{what}");
        assert!(contents(&it).await.unwrap() == all(), "{what}");
        let name = path.file_name().unwrap().to_string_lossy();
        let aside = dir.path().join(format!("damaged.{name}"));
        assert_eq!(fs::read(aside).unwrap(), bytes, "{what}");
    }
}

#[tokio::test]
async fn a_stamp_that_is_torn_or_gone_refuses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let stamp = dir.path().join("STAMP");
    let whole = fs::read(&stamp).unwrap();
    // One slot of two is torn: the other one counts.
    let mut torn = whole.clone();
    torn[20] ^= 1;
    fs::write(&stamp, torn).unwrap();
    close(try_open(dir.path()).unwrap()).await;
    fs::write(&stamp, "").unwrap();
    close(try_open(dir.path()).unwrap()).await;
    fs::remove_file(&stamp).unwrap();
    let it = try_open(dir.path()).unwrap();
    assert!(contents(&it).await.unwrap() == all());
    put(&it, 1_000..1_001).await;
    close(it).await;
    // After that a loss is noticed again.
    harm_last(dir.path(), 1_000);
    assert!(matches!(
        try_open(dir.path()).unwrap_err(),
        OpenError::Lost { .. }
    ));
}
