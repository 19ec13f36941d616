//! Opens the configured storage engine. The only module of this crate that names one.

use std::sync::Arc;

use gimlet_core::store::{RoomStore, RouteStore, StoreSet};
use gimlet_core::time::TimeSource;

use crate::config::{Config, StorageKind};
use crate::dependencies::NodeDependencies;
use crate::start_error::StartError;
use gimlet_cluster::ClusterId;

/// An opened engine.
#[derive(Debug)]
pub(crate) struct OpenedStorage {
    /// All stores. A role that only holds connections opens only the next two.
    pub(crate) stores: Option<StoreSet>,
    /// Rooms.
    pub(crate) room: Arc<dyn RoomStore>,
    /// Routes: the node of each connected device.
    pub(crate) route: Arc<dyn RouteStore>,
    /// Health of the engine.
    pub(crate) watch: StorageWatch,
    /// The parts of the storage that the tools use.
    #[cfg(all(unix, feature = "sled"))]
    pub(crate) control: Option<crate::control::ControlSocket>,
    /// Identity of the cluster, as soon as it is known.
    pub(crate) cluster: ClusterId,
    /// The servers that the storage depends on.
    pub(crate) servers: NodeDependencies,
}

impl OpenedStorage {
    fn whole(stores: StoreSet, watch: StorageWatch) -> Self {
        Self {
            room: Arc::clone(&stores.room),
            route: Arc::clone(&stores.route),
            stores: Some(stores),
            watch,
            #[cfg(all(unix, feature = "sled"))]
            control: None,
            cluster: ClusterId::default(),
            servers: NodeDependencies::default(),
        }
    }
}

/// Health of an engine, and the wait for its end.
#[derive(Clone, Debug)]
pub(crate) enum StorageWatch {
    /// Memory does not fail.
    Memory,
    /// sled reports its failure itself.
    #[cfg(feature = "sled")]
    Sled(
        gimlet_storage_sled::StorageHealth,
        gimlet_storage_sled::FlushGate,
    ),
    /// An outage of MySQL is waited out; its connections are closed at the end. A role without
    /// MySQL has none.
    #[cfg(feature = "mysql")]
    Mysql(Option<gimlet_storage_mysql::MysqlStores>),
}

impl StorageWatch {
    /// Waits until the engine has failed; returns the reason.
    pub(crate) async fn failed(&self) -> String {
        match self {
            Self::Memory => std::future::pending().await,
            #[cfg(feature = "mysql")]
            Self::Mysql(_) => std::future::pending().await,
            #[cfg(feature = "sled")]
            Self::Sled(health, _) => health.failed().await,
        }
    }

    /// Returns the number of connections to MySQL, all and idle ones, if there is a MySQL.
    pub(crate) fn mysql_connections(&self) -> Option<(u64, u64)> {
        match self {
            #[cfg(feature = "mysql")]
            Self::Mysql(Some(lasting)) => {
                let (open, idle) = lasting.connections();
                Some((open as u64, idle as u64))
            }
            _ => None,
        }
    }

    /// Waits until everything is on disk and the engine is closed; all handles must be dropped
    /// before.
    #[cfg_attr(
        not(any(feature = "sled", feature = "mysql")),
        expect(clippy::unused_async, reason = "only engines on disk have to wait")
    )]
    pub(crate) async fn closed(&self) {
        match self {
            Self::Memory => {}
            #[cfg(feature = "sled")]
            Self::Sled(health, _) => health.closed().await,
            #[cfg(feature = "mysql")]
            Self::Mysql(Some(lasting)) => lasting.close().await,
            #[cfg(feature = "mysql")]
            Self::Mysql(None) => {}
        }
    }
}

/// Opens the engine.
#[cfg_attr(
    not(any(feature = "sled", feature = "mysql")),
    expect(clippy::unused_async, reason = "only engines on disk have to wait")
)]
pub(crate) async fn open(
    config: &Config,
    clock: Arc<dyn TimeSource>,
) -> Result<OpenedStorage, StartError> {
    match config.storage.kind {
        StorageKind::Memory => {
            let memory = gimlet_core::memory::MemoryConfig {
                clock,
                room: config.rooms,
                ..gimlet_core::memory::MemoryConfig::default()
            };
            Ok(OpenedStorage::whole(memory.stores(), StorageWatch::Memory))
        }
        #[cfg(feature = "sled")]
        StorageKind::Sled => {
            keep(config).await?;
            sled(config, clock).await
        }
        // `Config::check` has refused these with its own messages.
        #[cfg(not(feature = "sled"))]
        StorageKind::Sled => Err(StartError::Storage("this build has no sled storage".into())),
        #[cfg(feature = "mysql")]
        StorageKind::Mysql => {
            // Files are in the data directory.
            if config.opened().http.is_some() && config.roles.has(crate::config::NodeRole::Business)
            {
                keep(config).await?;
            }
            mysql(config, clock).await
        }
        #[cfg(not(feature = "mysql"))]
        StorageKind::Mysql => Err(StartError::Storage(
            "this build has no mysql storage".into(),
        )),
    }
}

/// Makes the data directory private to this user. It runs on a blocking thread: at the first start
/// there may be many files to change.
#[cfg(any(feature = "sled", feature = "mysql"))]
async fn keep(config: &Config) -> Result<(), StartError> {
    let dir = config.data_dir.clone();
    let failed = |error: &dyn std::fmt::Display| {
        let dir = config.data_dir.display();
        StartError::Storage(format!("cannot make the data directory {dir}: {error}"))
    };
    let kept = tokio::task::spawn_blocking(move || crate::private_dir::keep(&dir)).await;
    kept.map_err(|panic| failed(&panic))?
        .map_err(|error| failed(&error))
}

/// Returns the settings with which the data directory is opened.
#[cfg(feature = "sled")]
pub(crate) fn sled_config(config: &Config) -> gimlet_storage_sled::Config {
    use gimlet_storage_sled as sled;

    sled::Config {
        durability: match config.storage.durability {
            crate::config::StorageDurability::Power => sled::DurabilityLevel::Power,
            crate::config::StorageDurability::Process => sled::DurabilityLevel::Process,
        },
        min_free: config.storage.min_free,
        cache_bytes: config.storage.cache,
        ..sled::Config::new(&config.data_dir)
    }
}

#[cfg(feature = "sled")]
async fn sled(config: &Config, clock: Arc<dyn TimeSource>) -> Result<OpenedStorage, StartError> {
    use gimlet_storage_sled as sled;

    let settings = sled_config(config);
    // On a blocking thread, because recovery reads the whole log.
    let opened = tokio::task::spawn_blocking(move || sled::open(&settings, clock)).await;
    let opened = opened
        .map_err(|panic| StartError::Storage(format!("opening the storage panicked: {panic}")))?
        .map_err(|error| StartError::Storage(error.to_string()))?;
    let gate = opened.flush_gate();
    #[cfg(unix)]
    let control = crate::control::ControlSocket {
        dir: config.data_dir.clone(),
        exporter: opened.exporter(),
        seq: Arc::clone(&opened.stores.seq),
        operator: None,
    };
    let storage = OpenedStorage::whole(opened.stores, StorageWatch::Sled(opened.health, gate));
    #[cfg(unix)]
    let storage = OpenedStorage {
        control: Some(control),
        ..storage
    };
    Ok(storage)
}

#[cfg(feature = "mysql")]
async fn mysql(config: &Config, clock: Arc<dyn TimeSource>) -> Result<OpenedStorage, StartError> {
    use gimlet_storage_mysql as mysql;

    let failed = |error: mysql::OpenError| StartError::Storage(error.to_string());
    let redis = redis_config(config);
    if !config.needs_mysql() {
        let live = mysql::open_live(&redis, None).map_err(failed)?;
        live.check().await.map_err(failed)?;
        return Ok(OpenedStorage {
            stores: None,
            room: Arc::clone(&live.room),
            route: Arc::clone(&live.route),
            watch: StorageWatch::Mysql(None),
            #[cfg(all(unix, feature = "sled"))]
            control: None,
            cluster: ClusterId::new(Arc::clone(live.cluster())),
            servers: NodeDependencies::of(None, &live),
        });
    }
    let mysql = mysql_config(config);
    if config.storage.migrate {
        mysql::migrate(&mysql).await.map_err(failed)?;
    }
    let both = mysql::Config { mysql, redis };
    let opened = mysql::open(&both, clock).await.map_err(failed)?;
    let servers = NodeDependencies::of(Some(&opened.lasting), &opened.live);
    let cluster = ClusterId::new(Arc::clone(opened.live.cluster()));
    let watch = StorageWatch::Mysql(Some(opened.lasting));
    Ok(OpenedStorage {
        cluster,
        servers,
        ..OpenedStorage::whole(opened.stores, watch)
    })
}

#[cfg(feature = "mysql")]
pub(crate) fn redis_config(config: &Config) -> gimlet_storage_mysql::RedisConfig {
    let url = config.storage.redis_url.as_ref();
    gimlet_storage_mysql::RedisConfig {
        prefix: config.storage.redis_prefix.clone(),
        lease: config.limits.node.lease,
        room: config.rooms,
        ca: config.storage.redis_ca.as_ref().map(Into::into),
        ..gimlet_storage_mysql::RedisConfig::new(url.map_or("", |url| url.reveal()))
    }
}

#[cfg(feature = "mysql")]
pub(crate) fn mysql_config(config: &Config) -> gimlet_storage_mysql::MysqlConfig {
    let url = config.storage.mysql_url.as_ref();
    gimlet_storage_mysql::MysqlConfig {
        connections: config.storage.mysql_connections,
        ca: config.storage.mysql_ca.as_ref().map(Into::into),
        parallel_batches: config.storage.mysql_parallel_batches,
        relaxed_durability: config.storage.relaxed_durability,
        ..gimlet_storage_mysql::MysqlConfig::new(url.map_or("", |url| url.reveal()))
    }
}

/// Brings the tables of the configured MySQL up to this version: `gimlet migrate`.
///
/// # Errors
/// The configuration names no MySQL, or MySQL failed.
#[cfg(feature = "mysql")]
pub async fn migrate(config: &Config) -> Result<(), StartError> {
    if config.storage.kind != StorageKind::Mysql || config.storage.mysql_url.is_none() {
        return Err(StartError::Storage(
            "only storage.kind = \"mysql\" has tables to migrate; set it, and storage.mysql_url"
                .into(),
        ));
    }
    let done = gimlet_storage_mysql::migrate(&mysql_config(config)).await;
    done.map_err(|error| StartError::Storage(error.to_string()))
}
