//! The storage of the configuration, as `gimlet key` opens it.

use gimlet_cli::{KeyStorage, KeyStorageError, OpenedKeys, OpeningKeys};
use gimlet_server::Config;
use gimlet_server::config::StorageKind;
use gimlet_server::tools::{StoredApiKeys, ToolError};

/// The storage of a configuration.
#[derive(Debug)]
pub(crate) struct ConfiguredStorage(
    /// The configuration.
    pub(crate) Config,
);

impl KeyStorage for ConfiguredStorage {
    fn place(&self) -> String {
        match self.0.storage.kind {
            StorageKind::Mysql => "the MySQL of the configuration".to_owned(),
            StorageKind::Sled | StorageKind::Memory => {
                format!("the data directory {}", self.0.data_dir.display())
            }
        }
    }

    fn open(&self, create: bool) -> OpeningKeys {
        let config = self.0.clone();
        Box::pin(async move {
            let opened = StoredApiKeys::open(&config, create).await;
            let keys = opened.map_err(|error| match error {
                ToolError::InUse(_) => KeyStorageError::InUse(error.to_string()),
                other => KeyStorageError::Failed(other.to_string()),
            })?;
            Ok(OpenedKeys {
                service: keys.service().clone(),
                closed: Box::pin(keys.close()),
            })
        })
    }
}
