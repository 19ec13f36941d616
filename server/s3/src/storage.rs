//! Files as objects of a bucket.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use gimlet_files::{CompleteFile, DirectUploads, FileReader, FileStorage, PendingName, StoredName};
use http::Method;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::signer::Signer as _;
use object_store::{
    GetOptions, GetRange, MultipartUpload, ObjectMeta, ObjectStore as _, ObjectStoreExt as _,
    PutPayload, RetryConfig,
};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio_util::io::StreamReader;

use crate::client::S3Client;
use crate::settings::{S3Settings, S3StartError};

/// Bytes that are sent at a time, and held in memory: the least that S3 takes as a part. A longer file is
/// sent in parts.
const PART_BYTES: u64 = 5 << 20;
/// Part of the names of objects that are not files yet.
const PENDING_PREFIX: &str = "pending/";
/// Repeats of a request that failed.
const MAX_RETRIES: usize = 3;
/// Time after which a request is not repeated.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

/// The files in a bucket.
#[derive(Clone, Debug)]
pub struct S3Storage {
    store: Arc<AmazonS3>,
    prefix: String,
}

impl S3Storage {
    /// Prepares a bucket. It is not asked for anything yet: a store that is down at the start refuses
    /// uploads until it is up.
    ///
    /// # Errors
    /// The settings do not fit together.
    pub fn new(settings: &S3Settings) -> Result<Self, S3StartError> {
        let prefix = &settings.prefix;
        let is_named = |letter: char| letter.is_ascii_alphanumeric() || "-_/".contains(letter);
        let is_prefix =
            prefix.chars().all(is_named) && !prefix.starts_with('/') && !prefix.contains("//");
        if !is_prefix || !(prefix.is_empty() || prefix.ends_with('/')) {
            return Err(S3StartError::Prefix(prefix.clone()));
        }
        let retry = RetryConfig {
            max_retries: MAX_RETRIES,
            retry_timeout: RETRY_TIMEOUT,
            ..RetryConfig::default()
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_access_key_id(&settings.access_key)
            .with_secret_access_key(&settings.secret_key)
            .with_virtual_hosted_style_request(settings.in_host_name)
            .with_allow_http(settings.allow_http)
            .with_retry(retry)
            .with_http_connector(S3Client::new(settings.allow_http, settings.ca.as_ref())?);
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        Ok(Self {
            store: Arc::new(builder.build()?),
            prefix: prefix.clone(),
        })
    }

    fn path(&self, name: &StoredName) -> Path {
        Path::from(format!("{}{name}", self.prefix))
    }

    fn pending_path(&self, upload: &PendingName) -> Path {
        Path::from(format!("{}{PENDING_PREFIX}{upload}", self.prefix))
    }

    /// Lists objects that were stored before a time, of those whose location `read` understands.
    async fn list<T: Send>(
        &self,
        prefix: &str,
        time: SystemTime,
        limit: usize,
        read: impl Fn(&ObjectMeta) -> Option<T> + Send + Sync,
    ) -> io::Result<Vec<T>> {
        let prefix = Path::from(prefix);
        let mut objects = self.store.list(Some(&prefix));
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(object) = objects.try_next().await.map_err(of_store)?
        {
            if SystemTime::from(object.last_modified) < time {
                found.extend(read(&object));
            }
        }
        Ok(found)
    }

    /// Returns the file that an object is; `None` if it is something else.
    fn name(&self, object: &ObjectMeta) -> Option<StoredName> {
        let path = object.location.as_ref();
        StoredName::parse(path.strip_prefix(&self.prefix)?)
    }

    async fn put_parts(
        &self,
        upload: &mut dyn MultipartUpload,
        file: &mut File,
        length: u64,
    ) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            let part = read_part(file, left.min(PART_BYTES)).await?;
            left -= part.content_length() as u64;
            upload.put_part(part).await.map_err(of_store)?;
        }
        upload.complete().await.map_err(of_store)?;
        Ok(())
    }
}

async fn read_part(file: &mut File, length: u64) -> io::Result<PutPayload> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut content = vec![0; length];
    file.read_exact(&mut content).await?;
    Ok(PutPayload::from(content))
}

#[async_trait]
impl FileStorage for S3Storage {
    async fn put(&self, name: &StoredName, file: CompleteFile) -> io::Result<()> {
        let path = self.path(name);
        let length = file.length();
        let mut content = File::open(file.path()?).await?;
        if length <= PART_BYTES {
            let whole = read_part(&mut content, length).await?;
            self.store.put(&path, whole).await.map_err(of_store)?;
            return Ok(());
        }
        let upload = self.store.put_multipart(&path).await;
        let mut upload = upload.map_err(of_store)?;
        let sent = self.put_parts(&mut *upload, &mut content, length).await;
        if sent.is_err()
            && let Err(error) = upload.abort().await
        {
            tracing::debug!(%error, "parts of a failed upload stay in the bucket");
        }
        sent
    }

    async fn length(&self, name: &StoredName) -> io::Result<Option<u64>> {
        match self.store.head(&self.path(name)).await {
            Ok(object) => Ok(Some(object.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(of_store(error)),
        }
    }

    async fn read(&self, name: &StoredName, part: Range<u64>) -> io::Result<FileReader> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(part)),
            ..GetOptions::default()
        };
        let found = self.store.get_opts(&self.path(name), options).await;
        let content = found.map_err(of_store)?.into_stream();
        Ok(Box::new(StreamReader::new(content.map_err(of_store))))
    }

    async fn delete(&self, name: &StoredName) -> io::Result<()> {
        match self.store.delete(&self.path(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(of_store(error)),
        }
    }

    async fn stored_before(&self, time: SystemTime, limit: usize) -> io::Result<Vec<StoredName>> {
        let named = |object: &ObjectMeta| self.name(object);
        self.list(&self.prefix, time, limit, named).await
    }

    fn direct_uploads(&self) -> Option<&dyn DirectUploads> {
        Some(self)
    }
}

#[async_trait]
impl DirectUploads for S3Storage {
    async fn address(&self, upload: &PendingName, lifetime: Duration) -> io::Result<String> {
        // The library signs no length, so whoever completes the upload compares it.
        let path = self.pending_path(upload);
        let signed = self.store.signed_url(Method::PUT, &path, lifetime);
        Ok(signed.await.map_err(of_store)?.into())
    }

    async fn received(&self, upload: &PendingName) -> io::Result<Option<(u64, FileReader)>> {
        match self.store.get(&self.pending_path(upload)).await {
            Ok(found) => {
                let length = found.meta.size;
                let content = found.into_stream().map_err(of_store);
                Ok(Some((length, Box::new(StreamReader::new(content)))))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(of_store(error)),
        }
    }

    async fn discard(&self, upload: &PendingName) -> io::Result<()> {
        match self.store.delete(&self.pending_path(upload)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(of_store(error)),
        }
    }

    async fn sent_before(&self, time: SystemTime, limit: usize) -> io::Result<Vec<PendingName>> {
        let prefix = format!("{}{PENDING_PREFIX}", self.prefix);
        let named = |object: &ObjectMeta| {
            PendingName::parse(object.location.as_ref().strip_prefix(&prefix)?)
        };
        self.list(&prefix, time, limit, named).await
    }
}

/// Keeps what callers tell apart: an object that does not exist.
fn of_store(error: object_store::Error) -> io::Error {
    match error {
        object_store::Error::NotFound { .. } => io::Error::new(io::ErrorKind::NotFound, error),
        error => io::Error::other(error),
    }
}
