//! API keys of a storage that is opened for one command: `gimlet key` where no server runs.

use std::sync::Arc;

use gimlet_core::auth::{ApiKeyService, SignInFailures};
use gimlet_core::store::ApiKeyStore;
use gimlet_core::time::SystemClock;

use super::{ToolError, kind};
use crate::config::{Config, StorageKind};
use crate::storage::StorageWatch;

/// The API keys of an opened storage.
#[derive(Debug)]
pub struct StoredApiKeys {
    service: ApiKeyService,
    watch: StorageWatch,
}

impl StoredApiKeys {
    /// Opens the storage of the configuration. An embedded storage that does not exist yet is
    /// created if `create` is set.
    ///
    /// # Errors
    /// [`ToolError::InUse`] if a server has an embedded storage open; MySQL may be in use.
    #[cfg_attr(
        not(feature = "mysql"),
        expect(clippy::unused_async, reason = "only MySQL has to wait")
    )]
    pub async fn open(config: &Config, create: bool) -> Result<Self, ToolError> {
        match config.storage.kind {
            #[cfg(all(unix, feature = "sled"))]
            StorageKind::Sled => sled(config, create),
            #[cfg(feature = "mysql")]
            StorageKind::Mysql => {
                let settings = crate::storage::mysql_config(config);
                let clock = Arc::new(SystemClock);
                let lasting = gimlet_storage_mysql::open_lasting(&settings, clock).await?;
                let (store, watch) = (lasting.api_key(), StorageWatch::Mysql(Some(lasting)));
                Ok(Self::new(store, watch))
            }
            other => Err(ToolError::Kind(format!(
                "storage.kind = \"{}\" keeps no API keys beyond its process: call the running server \
                 with a key of http.api_keys (--url, --api-key-file)",
                kind(other)
            ))),
        }
    }

    fn new(store: Arc<dyn ApiKeyStore>, watch: StorageWatch) -> Self {
        // Nobody presents keys here, so none are guessed.
        let failures = Arc::new(SignInFailures::new(0));
        Self {
            service: ApiKeyService::new(store, Arc::new(SystemClock), failures),
            watch,
        }
    }

    /// Returns the keys.
    #[must_use]
    pub const fn service(&self) -> &ApiKeyService {
        &self.service
    }

    /// Closes the storage, and waits until it is on disk.
    pub async fn close(self) {
        let Self { service, watch } = self;
        // The storage closes when its last handle is gone.
        drop(service);
        watch.closed().await;
    }
}

#[cfg(all(unix, feature = "sled"))]
fn sled(config: &Config, create: bool) -> Result<StoredApiKeys, ToolError> {
    use gimlet_storage_sled::{BackupError, OpenError};

    let dir = &config.data_dir;
    if create {
        let what = format!("cannot make the data directory {}", dir.display());
        crate::private_dir::keep(dir).map_err(ToolError::io(what))?;
    } else if !dir.is_dir() {
        let error = std::io::Error::from(std::io::ErrorKind::NotFound);
        let what = format!("there is no data directory {}", dir.display());
        return Err(ToolError::io(what)(error));
    }
    let opened =
        gimlet_storage_sled::open(&crate::storage::sled_config(config), Arc::new(SystemClock));
    let opened = opened.map_err(|error| match error {
        OpenError::Locked { .. } => ToolError::InUse(dir.clone()),
        other => BackupError::from(other).into(),
    })?;
    let gate = opened.flush_gate();
    let watch = StorageWatch::Sled(opened.health, gate);
    Ok(StoredApiKeys::new(opened.stores.api_key, watch))
}
