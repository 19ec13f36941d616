//! Uploaded files: the rules by which gimlet keeps them, and the folder that holds them.
//!
//! A [`FileStore`] is the service behind every entry point that takes or gives files: it decides who may
//! upload, how much, for how long and which kinds, and hands out what it stored. It knows neither
//! HTTP nor forms. A file is received into a hidden file of a local folder, checked there, and given to a
//! [`FileStorage`], which makes it visible.

mod counts;
mod direct;
mod disk;
mod file_kind;
mod janitor;
mod pictures;
mod quota;
mod refusal;
mod scan;
mod spool;
mod storage;
mod store;
mod store_parts;
mod stored_name;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod upload;
mod upload_folder;

pub use counts::FileCounts;
pub use direct::{DirectUploads, PendingName};
pub use disk::free_bytes;
pub use file_kind::FileKind;
pub use quota::{UploadBounds, UploadLimitExceeded};
pub use refusal::FileRefusal;
pub use scan::{FileScanner, ScanError, ScanPolicy, ScanQuestion, ScanRules, ScanVerdict};
pub use spool::{CompleteFile, FileReader};
pub use storage::FileStorage;
pub use store::{FileRules, FileStore, PresignedUpload, StoredFile};
pub use store_parts::FileParts;
pub use stored_name::StoredName;
pub use upload::{CompleteUpload, FileUpload, UploadedFile, UploadedPicture};
pub use upload_folder::UploadFolder;
