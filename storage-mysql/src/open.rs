//! Opens the two engines, together or each for a role that needs only one.

use std::sync::Arc;

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
}

/// Both engines, opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The stores.
    pub stores: Stores,
    /// To close MySQL's connections when all else has ended.
    pub lasting: Lasting,
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
    let db = mysql::open(config, clock).await?;
    Ok(Lasting { db })
}

/// Opens Redis. It need not be up: what needs it is unavailable until it is. To be called within
/// a tokio runtime.
pub fn open_live(config: &RedisConfig) -> Result<Live, OpenError> {
    let redis::Served { room, route, .. } = redis::open(config)?;
    Ok(Live { room, route })
}

/// Opens both.
pub async fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Opened, OpenError> {
    let lasting = open_lasting(&config.mysql, clock).await?;
    let redis::Served {
        room,
        route,
        commits,
    } = redis::open(&config.redis)?;
    // From here on every connection is checked against the commits of all nodes; the ones that are
    // open already were made before those could be read.
    lasting.db.share(commits).await?;
    let stores = Stores {
        seq: lasting.seq(),
        inbox: lasting.inbox(),
        group: lasting.group(),
        room,
        route,
        device: lasting.device(),
        account: lasting.account(),
        friend: lasting.friend(),
    };
    Ok(Opened { stores, lasting })
}
