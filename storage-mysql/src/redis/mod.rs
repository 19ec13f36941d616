//! Volatile data in Redis: routes, leases, rooms. No durable data depends on it.
//!
//! `wire` sends commands to one Redis or to a Redis Cluster, and lets calls fail at once for a
//! moment after Redis did not answer. `feed` is the one connection that receives what is published
//! in rooms. Routes and leases, published messages, and the pages of rooms' histories have separate
//! connections: a busy room delays no other room and no lease.

mod budget;
mod commits;
mod feed;
mod keys;
mod room;
mod route;
mod sentinel;
mod stamp;
mod wire;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use gimlet_core::dependency::Dependency;
use gimlet_core::store::{DeviceRoute, RoomStore};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::config::RedisConfig;
use crate::error::{Fault, OpenError};
use crate::mysql::CommitLog;

/// The Redis half of the storage.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) room: Arc<dyn RoomStore>,
    pub(crate) route: Arc<dyn DeviceRoute>,
    pub(crate) commits: Arc<dyn CommitLog>,
    pub(crate) access: Access,
}

/// Identity and health of Redis as a whole. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    wire: wire::Wire,
    pub(crate) cluster: Arc<AtomicU64>,
    pub(crate) health: Arc<Dependency>,
}

impl Access {
    /// Refuses a prefix whose keys belong to another cluster. If Redis does not answer, the check
    /// is made when it does.
    pub(crate) async fn check(&self) -> Result<(), OpenError> {
        match self.wire.check_owner().await {
            Err(Fault::OtherCluster(text)) => Err(OpenError::OtherCluster(text)),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// Background tasks of one opened Redis; they end with the last owner.
#[derive(Debug)]
struct Background {
    tasks: TaskTracker,
    _stop: DropGuard,
}

/// Prepares the connections. Redis may be down now, and may go and return later.
pub(crate) fn open(config: &RedisConfig, cluster: Option<u64>) -> Result<Served, OpenError> {
    let keys = keys::Keys::new(&config.prefix);
    let stamp = Arc::new(stamp::Stamp::new(config, &keys, cluster));
    let health = Arc::new(Dependency::new("redis"));
    let wire = || wire::Wire::open(config, &stamp, &health);
    let (routes, rooms, history) = (wire()?, wire()?, wire()?);
    let stop = CancellationToken::new();
    let background = Background {
        tasks: TaskTracker::new(),
        _stop: stop.clone().drop_guard(),
    };
    let feed = feed::Feed::new(keys.clone(), config.deadline);
    let commits = Arc::new(commits::Commits::new(wire()?, &keys));
    let sharing = Arc::clone(&commits).run(stop.clone());
    background.tasks.spawn(sharing);
    let hearing = feed.hear(rooms.listener(), stop);
    background.tasks.spawn(hearing);
    let access = Access {
        wire: routes.clone(),
        cluster: Arc::clone(stamp.cluster()),
        health,
    };
    Ok(Served {
        commits,
        access,
        room: Arc::new(room::Rooms {
            wire: rooms,
            history,
            keys: keys.clone(),
            bounds: config.room,
            budget: budget::KeepBudget::new(config.room.total_bytes, config.room.age),
            feed,
            _background: background,
        }),
        route: Arc::new(route::Routes {
            wire: routes,
            keys,
            lease: config.lease,
        }),
    })
}
