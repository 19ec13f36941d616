//! Volatile data in Redis: routes, leases, rooms. No durable data depends on it.
//!
//! `connection` sends commands to one Redis or to a Redis Cluster, and lets calls fail at once for
//! a moment after Redis did not answer. `feed` is the one connection that receives what is
//! published in rooms. Routes and leases, published messages, and the pages of rooms' histories
//! have separate connections: a busy room delays no other room and no lease.

mod background;
mod budget;
mod commits;
mod connection;
mod examine;
mod feed;
mod keys;
mod owner;
mod room;
mod route;
mod sentinel;

pub use examine::{RedisExamination, examine_redis};

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use gimlet_core::dependency::DependencyHealth;
use gimlet_core::store::{RoomStore, RouteStore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::background::BackgroundTasks;
use crate::config::RedisConfig;
use crate::error::{EngineError, OpenError};
use crate::mysql::CommitLog;

/// The Redis half of the storage.
#[derive(Debug)]
pub(crate) struct RedisParts {
    pub(crate) room: Arc<dyn RoomStore>,
    pub(crate) route: Arc<dyn RouteStore>,
    pub(crate) commits: Arc<dyn CommitLog>,
    pub(crate) access: RedisAccess,
}

/// Identity and health of Redis as a whole. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RedisAccess {
    wire: connection::RedisConnection,
    pub(crate) cluster: Arc<AtomicU64>,
    pub(crate) health: Arc<DependencyHealth>,
}

impl RedisAccess {
    /// Refuses a prefix whose keys belong to another cluster. If Redis does not answer, the check
    /// is made when it does.
    pub(crate) async fn check(&self) -> Result<(), OpenError> {
        match self.wire.check_owner().await {
            Err(EngineError::OtherCluster(text)) => Err(OpenError::OtherCluster(text)),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// Prepares the connections. Redis may be down now, and may go and return later.
pub(crate) fn open(config: &RedisConfig, cluster: Option<u64>) -> Result<RedisParts, OpenError> {
    let keys = keys::RedisKeys::new(&config.prefix);
    let stamp = Arc::new(owner::PrefixOwner::new(config, &keys, cluster));
    let health = Arc::new(DependencyHealth::new("redis"));
    let wire = || connection::RedisConnection::open(config, &stamp, &health);
    let (routes, rooms, history) = (wire()?, wire()?, wire()?);
    let stop = CancellationToken::new();
    let background = BackgroundTasks {
        tasks: TaskTracker::new(),
        _stop: stop.clone().drop_guard(),
    };
    let feed = feed::RoomFeed::new(keys.clone(), config.deadline);
    let commits = Arc::new(commits::RedisCommitLog::new(wire()?, &keys));
    let sharing = Arc::clone(&commits).run(stop.clone());
    background.tasks.spawn(sharing);
    let hearing = feed.hear(rooms.listener(), stop);
    background.tasks.spawn(hearing);
    let access = RedisAccess {
        wire: routes.clone(),
        cluster: Arc::clone(stamp.cluster()),
        health,
    };
    Ok(RedisParts {
        commits,
        access,
        room: Arc::new(room::RedisRooms {
            wire: rooms,
            history,
            keys: keys.clone(),
            bounds: config.room,
            budget: budget::KeepBudget::new(config.room.total_bytes, config.room.age),
            feed,
            _background: background,
        }),
        route: Arc::new(route::RedisRoutes {
            wire: routes,
            keys,
            lease: config.lease,
        }),
    })
}
