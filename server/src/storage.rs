//! Opens the configured engine. The only place of this crate that names one.

use std::sync::Arc;

use gimlet_core::store::Stores;
use gimlet_core::time::Clock;

use crate::app::StartError;
use crate::config::{Config, StorageKind};

/// An opened engine.
#[derive(Debug)]
pub(crate) struct Storage {
    /// Where everything is kept.
    pub(crate) stores: Stores,
    /// Whether it still works.
    pub(crate) watch: Watch,
}

/// Whether an engine still works, and when it is closed.
#[derive(Clone, Debug)]
pub(crate) enum Watch {
    /// Memory does not fail.
    Memory,
    /// sled says so itself.
    #[cfg(feature = "sled")]
    Sled(gimlet_storage_sled::Health, gimlet_storage_sled::FlushGate),
}

impl Watch {
    /// Returns when the engine has failed, with the reason.
    pub(crate) async fn failed(&self) -> String {
        match self {
            Self::Memory => std::future::pending().await,
            #[cfg(feature = "sled")]
            Self::Sled(health, _) => health.failed().await,
        }
    }

    /// Returns when everything is on disk and the engine closed; all handles must be gone before.
    #[cfg_attr(
        not(feature = "sled"),
        expect(clippy::unused_async, reason = "only engines on disk have to wait")
    )]
    pub(crate) async fn closed(&self) {
        match self {
            Self::Memory => {}
            #[cfg(feature = "sled")]
            Self::Sled(health, _) => health.closed().await,
        }
    }
}

/// Opens the engine.
#[cfg_attr(
    not(feature = "sled"),
    expect(clippy::unused_async, reason = "only engines on disk have to wait")
)]
pub(crate) async fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Storage, StartError> {
    match config.storage.kind {
        StorageKind::Memory => {
            let memory = gimlet_core::memory::Memory {
                clock,
                ..gimlet_core::memory::Memory::default()
            };
            Ok(Storage {
                stores: memory.stores(),
                watch: Watch::Memory,
            })
        }
        #[cfg(feature = "sled")]
        StorageKind::Sled => sled(config, clock).await,
        // `Config::check` has refused these with words of its own.
        #[cfg(not(feature = "sled"))]
        StorageKind::Sled => Err(StartError::Storage("this build has no sled storage".into())),
        StorageKind::Mysql => Err(StartError::Storage(
            "this build has no mysql storage".into(),
        )),
    }
}

#[cfg(feature = "sled")]
async fn sled(config: &Config, clock: Arc<dyn Clock>) -> Result<Storage, StartError> {
    use gimlet_storage_sled as sled;

    let settings = sled::Config {
        durability: match config.storage.durability {
            crate::config::Durability::Power => sled::Durability::Power,
            crate::config::Durability::Process => sled::Durability::Process,
        },
        min_free: config.storage.min_free,
        ..sled::Config::new(&config.data_dir)
    };
    // Recovery reads the whole log.
    let opened = tokio::task::spawn_blocking(move || sled::open(&settings, clock)).await;
    let opened = opened
        .map_err(|panic| StartError::Storage(format!("opening it panicked: {panic}")))?
        .map_err(|error| StartError::Storage(error.to_string()))?;
    let gate = opened.flush_gate();
    Ok(Storage {
        stores: opened.stores,
        watch: Watch::Sled(opened.health, gate),
    })
}
