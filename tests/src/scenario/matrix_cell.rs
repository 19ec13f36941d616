//! One cell of the test matrix: a storage and a wire.

use std::sync::Mutex;

use gimlet_server::Config;
use gimlet_server::config::StorageKind;

use super::ScenarioFixture;
use super::matrix::{ScenarioStore, ScenarioWire};

/// A storage and a wire, and the fixture that a test has started with them.
#[derive(Debug)]
pub struct MatrixCell {
    /// The storage.
    pub store: ScenarioStore,
    /// The wire.
    pub wire: ScenarioWire,
    fixture: Mutex<Option<ScenarioFixture>>,
}

impl MatrixCell {
    /// Creates a cell without a fixture yet.
    #[must_use]
    pub const fn new(store: ScenarioStore, wire: ScenarioWire) -> Self {
        Self {
            store,
            wire,
            fixture: Mutex::new(None),
        }
    }

    /// Starts a server with default settings; a cluster has several.
    pub async fn start(&self) -> ScenarioFixture {
        self.start_with(|_| {}).await
    }

    /// Starts a server with changed settings.
    pub async fn start_with(&self, change: impl FnOnce(&mut Config)) -> ScenarioFixture {
        let mut config = Config::embedded();
        config.storage.kind = match self.store {
            ScenarioStore::Memory => StorageKind::Memory,
            ScenarioStore::Sled => StorageKind::Sled,
            ScenarioStore::Cluster => StorageKind::Mysql,
        };
        change(&mut config);
        // Boxed: the future holds the configuration, and every scenario would hold it in turn.
        let world = Box::pin(ScenarioFixture::start(self.store, self.wire, config)).await;
        if let Ok(mut kept) = self.fixture.lock() {
            *kept = Some(world.clone());
        }
        world
    }

    /// Stops the server of the test, if one was started.
    pub async fn end(&self) {
        let world = self.fixture.lock().ok().and_then(|mut world| world.take());
        if let Some(world) = world {
            world.stops().await;
        }
    }
}
