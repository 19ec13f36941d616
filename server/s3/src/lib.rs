//! Uploaded files in a bucket of an S3-compatible store: [`S3Storage`] is a
//! [`FileStorage`](gimlet_files::FileStorage).
//!
//! The protocol and its signatures are those of `object_store`; this crate gives it gimlet's HTTP client and
//! certificates, and translates its errors. The address of the store is the operator's, so it may be in a
//! private network.

mod client;
mod settings;
mod storage;

pub use settings::{S3Settings, S3StartError};
pub use storage::S3Storage;
