//! Opens the two engines, together or each for a role that needs only one.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use gimlet_core::dependency::DependencyHealth;
use gimlet_core::store::{
    AccountStore, ApiKeyStore, DeviceStore, FriendStore, GroupStore, InboxStore, JwtUserStore,
    OutboxStore, PushTokenStore, RoomStore, RouteStore, SeqStore, StoreError, StoreSet,
};
use gimlet_core::time::TimeSource;

use crate::config::{Config, MysqlConfig, RedisConfig};
use crate::error::OpenError;
use crate::{migrate, mysql, redis};

/// The opened MySQL half of the storage. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MysqlStores {
    db: mysql::MysqlEngine,
    accounts: Arc<mysql::MysqlAccounts>,
    cluster: u64,
}

impl MysqlStores {
    /// Returns the store of heads, the epoch and id blocks.
    #[must_use]
    pub fn seq(&self) -> Arc<dyn SeqStore> {
        Arc::new(self.db.clone())
    }

    /// Returns the store of inboxes.
    #[must_use]
    pub fn inbox(&self) -> Arc<dyn InboxStore> {
        Arc::new(self.db.clone())
    }

    /// Returns the store of groups and their rosters.
    #[must_use]
    pub fn group(&self) -> Arc<dyn GroupStore> {
        Arc::new(self.db.clone())
    }

    /// Returns the store of devices, generations and acks.
    #[must_use]
    pub fn device(&self) -> Arc<dyn DeviceStore> {
        Arc::new(self.db.clone())
    }

    /// Returns the store of users and tokens of the built-in business service.
    #[must_use]
    pub fn account(&self) -> Arc<dyn AccountStore> {
        Arc::clone(&self.accounts) as _
    }

    /// Returns the store of API keys.
    #[must_use]
    pub fn api_key(&self) -> Arc<dyn ApiKeyStore> {
        Arc::new(self.db.clone())
    }

    /// Returns the store of users that JWTs name.
    #[must_use]
    pub fn jwt_user(&self) -> Arc<dyn JwtUserStore> {
        Arc::new(self.db.clone())
    }

    /// Returns the store of friends.
    #[must_use]
    pub fn friend(&self) -> Arc<dyn FriendStore> {
        Arc::new(self.db.clone())
    }

    /// Returns the store of the hooks' events.
    #[must_use]
    pub fn outbox(&self) -> Arc<dyn OutboxStore> {
        Arc::new(self.db.clone())
    }

    /// Returns the store of addresses of devices at push services.
    #[must_use]
    pub fn push_token(&self) -> Arc<dyn PushTokenStore> {
        Arc::new(self.db.clone())
    }

    /// Returns the identity of the database, which identifies the cluster.
    #[must_use]
    pub const fn cluster(&self) -> u64 {
        self.cluster
    }

    /// Returns the health of the connection to MySQL.
    #[must_use]
    pub fn health(&self) -> Arc<DependencyHealth> {
        self.db.health()
    }

    /// Pings MySQL; [`health`](Self::health) has the result.
    pub async fn ping(&self) {
        self.db.ping().await;
    }

    /// Returns the numbers of all connections to the server and of idle ones.
    #[must_use]
    pub fn connections(&self) -> (usize, usize) {
        self.db.connections()
    }

    /// Returns the number of statements sent to the server so far, transaction control included.
    #[must_use]
    pub fn statements(&self) -> u64 {
        self.db.statements()
    }

    /// Returns how often this process has drawn a new epoch because the store had lost commits (law
    /// 10).
    #[must_use]
    pub fn epochs_renewed(&self) -> u64 {
        self.db.renewed()
    }

    /// Marks the database as one that is being imported: it does not open until
    /// [`finish_import`](Self::finish_import). Returns false, and marks nothing, if it has users,
    /// devices, friends, groups or inboxes already, or if another import has marked it.
    pub async fn begin_import(&self) -> Result<bool, StoreError> {
        self.db.begin_import().await
    }

    /// Marks the import as complete.
    pub async fn finish_import(&self) -> Result<(), StoreError> {
        self.db.finish_import().await
    }

    /// Waits for transactions in flight and closes the connections.
    pub async fn close(&self) {
        self.db.close().await;
    }
}

/// The opened Redis half of the storage. Cheap to clone; its background tasks end with the last
/// handle to the rooms.
#[derive(Clone, Debug)]
pub struct RedisStores {
    /// Store of rooms and their brief history.
    pub room: Arc<dyn RoomStore>,
    /// Store of routes: the node that holds a device's connection.
    pub route: Arc<dyn RouteStore>,
    access: redis::RedisAccess,
}

impl RedisStores {
    fn of(served: redis::RedisParts) -> Self {
        Self {
            room: served.room,
            route: served.route,
            access: served.access,
        }
    }

    /// Returns the identity of the cluster that Redis belongs to; 0 while it is unknown.
    #[must_use]
    pub const fn cluster(&self) -> &Arc<AtomicU64> {
        &self.access.cluster
    }

    /// Returns the health of the connection to Redis.
    #[must_use]
    pub const fn health(&self) -> &Arc<DependencyHealth> {
        &self.access.health
    }

    /// Refuses a prefix whose keys belong to another cluster. If Redis does not answer, the check
    /// is made when it does.
    pub async fn check(&self) -> Result<(), OpenError> {
        self.access.check().await
    }
}

/// Both engines, opened.
#[derive(Clone, Debug)]
pub struct OpenedStores {
    /// All stores.
    pub stores: StoreSet,
    /// The MySQL half, to close its connections when everything else has ended.
    pub lasting: MysqlStores,
    /// The Redis half.
    pub live: RedisStores,
}

/// Opens MySQL: checks that the server's commits are durable and that the tables exist.
pub async fn open_lasting(
    config: &MysqlConfig,
    clock: Arc<dyn TimeSource>,
) -> Result<MysqlStores, OpenError> {
    let missing = migrate::pending(config).await?;
    if missing > 0 {
        return Err(OpenError::Schema(format!(
            "{missing} migrations are missing"
        )));
    }
    let (db, cluster) = mysql::open(config, clock).await?;
    Ok(MysqlStores {
        accounts: Arc::new(mysql::MysqlAccounts::new(db.clone())),
        db,
        cluster,
    })
}

/// Opens Redis for the cluster with this identity. A node without a database passes `None` and
/// accepts the identity that it finds in Redis. Redis need not be up: calls that need it are
/// unavailable until it is. Must be called within a tokio runtime.
pub fn open_live(config: &RedisConfig, cluster: Option<u64>) -> Result<RedisStores, OpenError> {
    Ok(RedisStores::of(redis::open(config, cluster)?))
}

/// Opens both engines.
pub async fn open(config: &Config, clock: Arc<dyn TimeSource>) -> Result<OpenedStores, OpenError> {
    let lasting = open_lasting(&config.mysql, clock).await?;
    let served = redis::open(&config.redis, Some(lasting.cluster()))?;
    let commits = Arc::clone(&served.commits);
    let live = RedisStores::of(served);
    live.check().await?;
    // From here on, every new connection is compared with the commits of all nodes. The connections
    // that are open already were made before those commits could be read, so one of them is
    // compared now.
    lasting.db.share(commits).await?;
    let stores = StoreSet {
        seq: lasting.seq(),
        inbox: lasting.inbox(),
        group: lasting.group(),
        room: Arc::clone(&live.room),
        route: Arc::clone(&live.route),
        device: lasting.device(),
        account: lasting.account(),
        api_key: lasting.api_key(),
        jwt_user: lasting.jwt_user(),
        friend: lasting.friend(),
        outbox: lasting.outbox(),
        push_token: lasting.push_token(),
    };
    Ok(OpenedStores {
        stores,
        lasting,
        live,
    })
}
