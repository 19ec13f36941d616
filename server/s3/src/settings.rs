//! Settings of a bucket.

use std::fmt;

use gimlet_listen::pem::{PemError, PemFile};

/// A bucket, and how it is reached.
#[derive(Clone)]
pub struct S3Settings {
    /// The bucket's name.
    pub bucket: String,
    /// Address of the store; `None` is Amazon's in the region.
    pub endpoint: Option<String>,
    /// The region, which is part of each signature.
    pub region: String,
    /// Id of the access key.
    pub access_key: String,
    /// The secret of the access key.
    pub secret_key: String,
    /// Beginning of the names of objects.
    pub prefix: String,
    /// Set if the bucket is the first part of the host name; otherwise it is the first part of the path.
    pub in_host_name: bool,
    /// Set if the store may be reached without TLS.
    pub allow_http: bool,
    /// CAs that are trusted besides the public ones.
    pub ca: Option<PemFile>,
}

impl fmt::Debug for S3Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Settings")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// Reasons a bucket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum S3StartError {
    /// The settings do not fit together.
    #[error("files.s3_bucket cannot be used: {0}")]
    Settings(#[from] object_store::Error),
    /// The CAs cannot be read.
    #[error(transparent)]
    Ca(#[from] PemError),
    /// The HTTP client cannot be made.
    #[error("the client for files.s3_endpoint cannot start: {0}")]
    Client(#[from] reqwest::Error),
    /// The prefix is not one.
    #[error(
        "files.s3_prefix = {0:?} is not a prefix of names; write letters, digits, - and _ with / between \
         and at the end, for example gimlet/"
    )]
    Prefix(String),
}
