//! One cell of the test matrix: a storage and a wire.

use std::fmt;
use std::sync::Mutex;

use gimlet_server::Config;
use gimlet_server::config::StorageKind;

use super::World;

/// Storage of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Memory of the process.
    Memory,
    /// Disk, in a folder of its own.
    Sled,
    /// MySQL and Redis, with each role in separate servers.
    Cluster,
}

/// Wire of the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// gim's framing over TCP.
    Tcp,
    /// WebSocket.
    Ws,
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Sled => "sled",
            Self::Cluster => "cluster",
        })
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Ws => "ws",
        })
    }
}

/// A storage and a wire, and the fixture that a test has started with them.
#[derive(Debug)]
pub struct Cell {
    /// The storage.
    pub store: Store,
    /// The wire.
    pub wire: Wire,
    world: Mutex<Option<World>>,
}

impl Cell {
    /// Creates a cell without a fixture yet.
    #[must_use]
    pub const fn new(store: Store, wire: Wire) -> Self {
        Self {
            store,
            wire,
            world: Mutex::new(None),
        }
    }

    /// Starts a server with default settings; a cluster has several.
    pub async fn start(&self) -> World {
        self.start_with(|_| {}).await
    }

    /// Starts a server with changed settings.
    pub async fn start_with(&self, change: impl FnOnce(&mut Config)) -> World {
        let mut config = Config::embedded();
        config.storage.kind = match self.store {
            Store::Memory => StorageKind::Memory,
            Store::Sled => StorageKind::Sled,
            Store::Cluster => StorageKind::Mysql,
        };
        change(&mut config);
        let world = World::start(self.store, self.wire, config).await;
        if let Ok(mut kept) = self.world.lock() {
            *kept = Some(world.clone());
        }
        world
    }

    /// Stops the server of the test, if one was started.
    pub async fn end(&self) {
        let world = self.world.lock().ok().and_then(|mut world| world.take());
        if let Some(world) = world {
            world.stops().await;
        }
    }
}
