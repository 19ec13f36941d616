//! The empty storage that `gimlet import` fills: it opens for a server only when the import is
//! complete.

use std::sync::Arc;

use gimlet_core::store::{
    AccountStore, DeviceStore, FriendStore, GroupStore, InboxStore, SeqStore,
};
use gimlet_core::time::SystemClock;

use super::{ToolError, kind};
use crate::config::{Config, StorageKind};

/// Stores of a storage that is being filled.
#[derive(Clone, Debug)]
pub struct ImportedStores {
    /// Blocks of ids.
    pub seq: Arc<dyn SeqStore>,
    /// Inboxes.
    pub inbox: Arc<dyn InboxStore>,
    /// Groups.
    pub group: Arc<dyn GroupStore>,
    /// Friends.
    pub friend: Arc<dyn FriendStore>,
    /// Devices.
    pub device: Arc<dyn DeviceStore>,
    /// Users.
    pub account: Arc<dyn AccountStore>,
}

/// A storage that is being filled.
#[derive(Debug)]
pub struct ImportStorage {
    stores: ImportedStores,
    engine: ImportEngine,
}

#[derive(Debug)]
enum ImportEngine {
    #[cfg(all(unix, feature = "sled"))]
    Sled(
        gimlet_storage_sled::StorageDraft,
        gimlet_storage_sled::StorageHealth,
    ),
    Mysql(gimlet_storage_mysql::MysqlStores),
}

impl ImportStorage {
    /// Opens the storage of the configuration, which must be empty.
    ///
    /// # Errors
    /// The storage has data, a server has it open, or it cannot be opened.
    pub async fn begin(config: &Config) -> Result<Self, ToolError> {
        match config.storage.kind {
            #[cfg(all(unix, feature = "sled"))]
            StorageKind::Sled => {
                let config = config.clone();
                let begun = tokio::task::spawn_blocking(move || sled(&config)).await;
                begun.map_err(|panic| ToolError::Store(panic.to_string()))?
            }
            StorageKind::Mysql => mysql(config).await,
            other => Err(ToolError::Kind(format!(
                "storage.kind = \"{}\" keeps nothing beyond its process: import into sled or mysql",
                kind(other)
            ))),
        }
    }

    /// Returns the stores.
    #[must_use]
    pub const fn stores(&self) -> &ImportedStores {
        &self.stores
    }

    /// Completes the import: a server can open the storage now. All clones of its stores must have
    /// been dropped.
    ///
    /// # Errors
    /// The storage failed; it does not open for a server.
    pub async fn finish(self) -> Result<(), ToolError> {
        let Self { stores, engine } = self;
        drop(stores);
        match engine {
            #[cfg(all(unix, feature = "sled"))]
            ImportEngine::Sled(draft, health) => {
                health.closed().await;
                let finished = tokio::task::spawn_blocking(move || draft.finish()).await;
                finished.map_err(|panic| ToolError::Store(panic.to_string()))??;
            }
            ImportEngine::Mysql(lasting) => {
                lasting.finish_import().await?;
                lasting.close().await;
            }
        }
        Ok(())
    }

    /// Gives the import up, and returns what the user must do before the next one, to be appended
    /// to the reason. Of an embedded storage nothing is left; a database of which `was_written` has
    /// a part of the import, and does not open.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn abandon(self, was_written: bool) -> Result<&'static str, ToolError> {
        let Self { stores, engine } = self;
        drop(stores);
        match engine {
            #[cfg(all(unix, feature = "sled"))]
            ImportEngine::Sled(draft, health) => {
                health.closed().await;
                let removed = tokio::task::spawn_blocking(move || draft.abandon()).await;
                removed.map_err(|panic| ToolError::Store(panic.to_string()))?;
                Ok("")
            }
            ImportEngine::Mysql(lasting) => {
                let remedy = if was_written {
                    "; the database holds a part of the import: drop it, create it again, and import again"
                } else {
                    lasting.finish_import().await?;
                    ""
                };
                lasting.close().await;
                Ok(remedy)
            }
        }
    }
}

#[cfg(all(unix, feature = "sled"))]
fn sled(config: &Config) -> Result<ImportStorage, ToolError> {
    use gimlet_storage_sled::StorageDraft;

    let dir = &config.data_dir;
    let asking = ToolError::io(format!("cannot check whether {} is in use", dir.display()));
    if crate::control::connect(dir).map_err(asking)?.is_some() {
        return Err(ToolError::Kind(format!(
            "{} is in use: stop that gimlet, and import into an empty data directory",
            dir.display()
        )));
    }
    let making = format!("cannot make the data directory {}", dir.display());
    crate::private_dir::keep(dir).map_err(ToolError::io(making))?;
    let settings = crate::storage::sled_config(config);
    let (draft, opened) = StorageDraft::begin(&settings, Arc::new(SystemClock))?;
    let stores = opened.stores;
    Ok(ImportStorage {
        stores: ImportedStores {
            seq: stores.seq,
            inbox: stores.inbox,
            group: stores.group,
            friend: stores.friend,
            device: stores.device,
            account: stores.account,
        },
        engine: ImportEngine::Sled(draft, opened.health),
    })
}

async fn mysql(config: &Config) -> Result<ImportStorage, ToolError> {
    let settings = crate::storage::mysql_config(config);
    if config.storage.migrate {
        gimlet_storage_mysql::migrate(&settings).await?;
    }
    let lasting = gimlet_storage_mysql::open_lasting(&settings, Arc::new(SystemClock)).await?;
    if !lasting.begin_import().await? {
        lasting.close().await;
        return Err(ToolError::Kind(
            "the database of storage.mysql_url has users, devices, friends, groups or messages: import into an \
             empty database"
                .to_owned(),
        ));
    }
    Ok(ImportStorage {
        stores: ImportedStores {
            seq: lasting.seq(),
            inbox: lasting.inbox(),
            group: lasting.group(),
            friend: lasting.friend(),
            device: lasting.device(),
            account: lasting.account(),
        },
        engine: ImportEngine::Mysql(lasting),
    })
}
