//! Cases that every [`FileStorage`] passes.
#![expect(clippy::unwrap_used, reason = "a failed case panics")]

use std::future::Future;
use std::io;
use std::time::{Duration, SystemTime};

use gimlet_core::id::UserId;
use tokio::io::AsyncReadExt as _;

use crate::direct::PendingName;
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
        (0, 2, b"01"),
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

/// Runs every case on a storage that takes files from clients. `put` sends bytes to an address as a client
/// does, and returns the status of the answer.
///
/// # Panics
/// A case fails.
pub async fn check_direct_uploads<F>(storage: &dyn FileStorage, put: impl Fn(String, Vec<u8>) -> F)
where
    F: Future<Output = u16>,
{
    let direct = storage.direct_uploads().unwrap();
    let user = UserId::new(7).unwrap();
    let lifetime = Duration::from_mins(5);
    let name = PendingName::random(user, 7);
    assert!(direct.received(&name).await.unwrap().is_none());
    let address = direct.address(&name, lifetime).await.unwrap();
    assert_eq!(put(address.clone(), b"content".to_vec()).await, 200);
    let (length, mut reader) = direct.received(&name).await.unwrap().unwrap();
    let mut content = Vec::new();
    reader.read_to_end(&mut content).await.unwrap();
    assert_eq!((length, content.as_slice()), (7, &b"content"[..]));
    // Nobody else completes it, and it is not a file.
    let other = PendingName::of(UserId::new(8).unwrap(), name.id()).unwrap();
    assert!(direct.received(&other).await.unwrap().is_none());
    let future = SystemTime::UNIX_EPOCH + Duration::from_hours(24) * 365 * 200;
    assert_eq!(storage.stored_before(future, 10).await.unwrap(), []);
    let sent = direct.sent_before(future, 10).await.unwrap();
    assert_eq!(sent, std::slice::from_ref(&name));
    let past = SystemTime::UNIX_EPOCH;
    assert_eq!(direct.sent_before(past, 10).await.unwrap(), []);
    // The address is for this name.
    let forged = address.replace(name.id(), PendingName::random(user, 7).id());
    assert!(put(forged, b"content".to_vec()).await >= 400);
    direct.discard(&name).await.unwrap();
    direct.discard(&name).await.unwrap();
    assert!(direct.received(&name).await.unwrap().is_none());
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
