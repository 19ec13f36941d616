//! Uploaded files: the rules by which gimlet keeps them, and the folder that holds them.
//!
//! A [`FileStore`] is the service behind every door that takes or gives files: it decides who may
//! upload, how much, for how long and which kinds, and hands out what it stored. It knows neither
//! HTTP nor forms.

mod disk;
mod file_kind;
mod quota;
mod refusal;
mod store;
mod upload;
mod upload_folder;

pub use disk::free_bytes;
pub use file_kind::FileKind;
pub use quota::{UploadBounds, UploadLimitExceeded};
pub use refusal::FileRefusal;
pub use store::{FileRules, FileStore, StoredFile};
pub use upload::FileUpload;
pub use upload_folder::UploadFolder;
