//! Cases that every [`FileStorage`] passes.
#![expect(clippy::unwrap_used, reason = "a failed case panics")]

use std::io;
use std::time::{Duration, SystemTime};

use tokio::io::AsyncReadExt as _;

use crate::file_kind::of_extension;
use crate::storage::FileStorage;
use crate::stored_name::StoredName;
use crate::upload_folder::UploadFolder;

/// Runs every case on a storage without files; `spool` is the folder from which it takes files. The
/// storage has no files afterwards.
pub async fn check_storage(storage: &dyn FileStorage, spool: &UploadFolder) {
    a_file_is_read_in_parts(storage, spool).await;
    a_file_that_does_not_exist_is_not_found(storage).await;
    a_file_of_any_length_is_kept(storage, spool).await;
    old_files_are_listed(storage, spool).await;
}

fn name() -> StoredName {
    StoredName::random(of_extension("png").unwrap())
}

async fn put(storage: &dyn FileStorage, spool: &UploadFolder, content: &[u8]) -> StoredName {
    let mut file = spool.begin().await.unwrap();
    file.write(content).await.unwrap();
    let name = name();
    let complete = file.complete().await.unwrap();
    assert_eq!(complete.length(), content.len() as u64);
    storage.put(&name, complete).await.unwrap();
    name
}

async fn read(storage: &dyn FileStorage, name: &StoredName, from: u64, to: u64) -> Vec<u8> {
    let mut content = Vec::new();
    let mut reader = storage.read(name, from..to).await.unwrap();
    reader.read_to_end(&mut content).await.unwrap();
    content
}

async fn a_file_is_read_in_parts(storage: &dyn FileStorage, spool: &UploadFolder) {
    let name = put(storage, spool, b"0123456789").await;
    assert_eq!(storage.length(&name).await.unwrap(), Some(10));
    for (from, to, part) in [
        (0, 10, &b"0123456789"[..]),
        (0, 1, b"0"),
        (9, 10, b"9"),
        (3, 7, b"3456"),
    ] {
        assert_eq!(read(storage, &name, from, to).await, part, "{from}..{to}");
    }
    // Its thumbnail is another file.
    let thumbnail = name.thumbnail(of_extension("jpg").unwrap());
    assert_eq!(storage.length(&thumbnail).await.unwrap(), None);
    storage.delete(&name).await.unwrap();
    assert_eq!(storage.length(&name).await.unwrap(), None);
}

async fn a_file_that_does_not_exist_is_not_found(storage: &dyn FileStorage) {
    let name = name();
    assert_eq!(storage.length(&name).await.unwrap(), None);
    let error = storage.read(&name, 0..1).await.err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    storage.delete(&name).await.unwrap();
}

/// Lengths around those at which a storage splits a file.
async fn a_file_of_any_length_is_kept(storage: &dyn FileStorage, spool: &UploadFolder) {
    for length in [1, 64 << 10, (5 << 20) - 1, 5 << 20, (11 << 20) + 3] {
        let content: Vec<u8> = (0..=250).cycle().take(length).collect();
        let name = put(storage, spool, &content).await;
        let whole = read(storage, &name, 0, length as u64).await;
        assert!(whole == content, "{length} bytes");
        storage.delete(&name).await.unwrap();
    }
}

async fn old_files_are_listed(storage: &dyn FileStorage, spool: &UploadFolder) {
    let day = Duration::from_hours(24);
    let past = SystemTime::UNIX_EPOCH + day;
    let future = SystemTime::UNIX_EPOCH + day * 365 * 200;
    let mut names = Vec::new();
    for _ in 0..3 {
        names.push(put(storage, spool, b"content").await);
    }
    assert_eq!(storage.stored_before(past, 10).await.unwrap(), []);
    let listed = storage.stored_before(future, 10).await.unwrap();
    assert_eq!(listed.len(), 3);
    assert!(names.iter().all(|name| listed.contains(name)));
    assert_eq!(storage.stored_before(future, 2).await.unwrap().len(), 2);
    for name in &names {
        storage.delete(name).await.unwrap();
    }
    assert_eq!(storage.stored_before(future, 10).await.unwrap(), []);
}
