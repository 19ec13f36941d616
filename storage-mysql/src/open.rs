//! Opens the two engines, together or each for a role that needs only one.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use gimlet_core::dependency::Dependency;
use gimlet_core::store::{
    AccountStore, DeviceRoute, DeviceStore, FriendStore, GroupStore, InboxStore, RoomStore,
    SeqStore, Stores,
};
use gimlet_core::time::Clock;

use crate::config::{Config, MysqlConfig, RedisConfig};
use crate::error::OpenError;
use crate::{migrate, mysql, redis};

/// What MySQL serves. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lasting {
    db: mysql::Db,
    cluster: u64,
}

impl Lasting {
    /// Heads, the epoch and id blocks.
    #[must_use]
    pub fn seq(&self) -> Arc<dyn SeqStore> {
        Arc::new(self.db.clone())
    }

    /// The inboxes.
    #[must_use]
    pub fn inbox(&self) -> Arc<dyn InboxStore> {
        Arc::new(self.db.clone())
    }

    /// Groups and their rosters.
    #[must_use]
    pub fn group(&self) -> Arc<dyn GroupStore> {
        Arc::new(self.db.clone())
    }

    /// Devices, generations and acks.
    #[must_use]
    pub fn device(&self) -> Arc<dyn DeviceStore> {
        Arc::new(self.db.clone())
    }

    /// Users and tokens of the built-in business service.
    #[must_use]
    pub fn account(&self) -> Arc<dyn AccountStore> {
        Arc::new(self.db.clone())
    }

    /// Friends.
    #[must_use]
    pub fn friend(&self) -> Arc<dyn FriendStore> {
        Arc::new(self.db.clone())
    }

    /// The identity of the database: which cluster this is.
    #[must_use]
    pub const fn cluster(&self) -> u64 {
        self.cluster
    }

    /// Whether MySQL answers.
    #[must_use]
    pub fn health(&self) -> Arc<Dependency> {
        self.db.health()
    }

    /// Asks MySQL for a sign of life; [`health`](Self::health) has the answer.
    pub async fn ping(&self) {
        self.db.ping().await;
    }

    /// Connections to the server: all, and those that are not in use.
    #[must_use]
    pub fn connections(&self) -> (usize, usize) {
        self.db.connections()
    }

    /// Statements sent to the server so far, transaction control included.
    #[must_use]
    pub fn statements(&self) -> u64 {
        self.db.statements()
    }

    /// How often this process has ended a history that went back (law 10).
    #[must_use]
    pub fn epochs_renewed(&self) -> u64 {
        self.db.renewed()
    }

    /// Waits for transactions in flight and closes the connections.
    pub async fn close(&self) {
        self.db.close().await;
    }
}

/// What Redis serves. Cheap to clone; its background work ends with the last handle to the rooms.
#[derive(Clone, Debug)]
pub struct Live {
    /// Rooms and their brief history.
    pub room: Arc<dyn RoomStore>,
    /// Which node holds which device's connection.
    pub route: Arc<dyn DeviceRoute>,
    access: redis::Access,
}

impl Live {
    fn of(served: redis::Served) -> Self {
        Self {
            room: served.room,
            route: served.route,
            access: served.access,
        }
    }

    /// The identity of the cluster that Redis is of; 0 while it is not known.
    #[must_use]
    pub const fn cluster(&self) -> &Arc<AtomicU64> {
        &self.access.cluster
    }

    /// Whether Redis answers.
    #[must_use]
    pub const fn health(&self) -> &Arc<Dependency> {
        &self.access.health
    }

    /// Refuses a prefix whose keys are another cluster's. A Redis that does not answer is checked
    /// when it does.
    pub async fn check(&self) -> Result<(), OpenError> {
        self.access.check().await
    }
}

/// Both engines, opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The stores.
    pub stores: Stores,
    /// To close MySQL's connections when all else has ended.
    pub lasting: Lasting,
    /// What is known of Redis.
    pub live: Live,
}

/// Opens MySQL: checks that the server keeps its word about commits and that the tables are there.
pub async fn open_lasting(
    config: &MysqlConfig,
    clock: Arc<dyn Clock>,
) -> Result<Lasting, OpenError> {
    let missing = migrate::pending(config).await?;
    if missing > 0 {
        return Err(OpenError::Schema(format!(
            "{missing} migrations are missing"
        )));
    }
    let (db, cluster) = mysql::open(config, clock).await?;
    Ok(Lasting { db, cluster })
}

/// Opens Redis for the cluster of this identity; a node without a database names none, and believes
/// Redis. It need not be up: what needs it is unavailable until it is. To be called within a tokio
/// runtime.
pub fn open_live(config: &RedisConfig, cluster: Option<u64>) -> Result<Live, OpenError> {
    Ok(Live::of(redis::open(config, cluster)?))
}

/// Opens both.
pub async fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Opened, OpenError> {
    let lasting = open_lasting(&config.mysql, clock).await?;
    let served = redis::open(&config.redis, Some(lasting.cluster()))?;
    let commits = Arc::clone(&served.commits);
    let live = Live::of(served);
    live.check().await?;
    // From here on every connection is checked against the commits of all nodes; the ones that are
    // open already were made before those could be read.
    lasting.db.share(commits).await?;
    let stores = Stores {
        seq: lasting.seq(),
        inbox: lasting.inbox(),
        group: lasting.group(),
        room: Arc::clone(&live.room),
        route: Arc::clone(&live.route),
        device: lasting.device(),
        account: lasting.account(),
        friend: lasting.friend(),
    };
    Ok(Opened {
        stores,
        lasting,
        live,
    })
}
