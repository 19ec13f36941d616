//! Routes in process: for in-memory storage, and for an embedded engine with one process.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::id::{DeviceId, Generation, NodeId, UserId};
use crate::memory::lock;
use crate::store::{Claim, DeviceRoute, Route, StoreError};

/// Which node holds which device's connection, as long as that node's lease lives.
///
/// Leases end by the monotonic clock of `tokio::time`, never by wall time (law 12).
#[derive(Debug)]
pub struct MemoryRoute {
    lease: Duration,
    // A std mutex: held for map look-ups, never over an await.
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    ends: HashMap<NodeId, Instant>,
    by_device: HashMap<DeviceId, Route>,
    by_user: HashMap<UserId, HashSet<DeviceId>>,
}

impl Default for MemoryRoute {
    fn default() -> Self {
        Self::new(Self::LEASE)
    }
}

impl MemoryRoute {
    /// How long a lease lives without being renewed, unless it is set otherwise.
    pub const LEASE: Duration = Duration::from_secs(15);

    /// An empty table whose leases live this long without being renewed.
    #[must_use]
    pub fn new(lease: Duration) -> Self {
        Self {
            lease,
            table: Mutex::default(),
        }
    }
}

impl Table {
    fn lives(&self, node: &NodeId, now: Instant) -> bool {
        self.ends.get(node).is_some_and(|end| *end > now)
    }

    fn insert(&mut self, route: Route) -> Option<Route> {
        let before = self.remove(route.device);
        let devices = self.by_user.entry(route.user).or_default();
        devices.insert(route.device);
        self.by_device.insert(route.device, route);
        before
    }

    fn remove(&mut self, device: DeviceId) -> Option<Route> {
        let route = self.by_device.remove(&device)?;
        if let Some(devices) = self.by_user.get_mut(&route.user) {
            devices.remove(&device);
            if devices.is_empty() {
                self.by_user.remove(&route.user);
            }
        }
        Some(route)
    }

    /// Forgets a node's lease and its routes.
    fn forget(&mut self, node: &NodeId) {
        self.ends.remove(node);
        let routes = self.by_device.values().filter(|it| it.node == *node);
        let gone: Vec<DeviceId> = routes.map(|it| it.device).collect();
        for device in gone {
            self.remove(device);
        }
    }
}

#[async_trait]
impl DeviceRoute for MemoryRoute {
    async fn claim(&self, route: &Route) -> Result<Claim, StoreError> {
        let mut table = lock(&self.table);
        match table.by_device.get(&route.device) {
            Some(now) if now.generation > route.generation => {
                return Ok(Claim::Superseded(now.clone()));
            }
            Some(now) if now.generation == route.generation => {
                if now.node != route.node {
                    return Ok(Claim::Superseded(now.clone()));
                }
                // The same connection registers again: it displaces nobody.
                table.insert(route.clone());
                return Ok(Claim::Claimed(None));
            }
            _ => {}
        }
        Ok(Claim::Claimed(table.insert(route.clone())))
    }

    async fn release(&self, device: DeviceId, generation: Generation) -> Result<bool, StoreError> {
        let mut table = lock(&self.table);
        let held = table.by_device.get(&device);
        if held.is_none_or(|route| route.generation != generation) {
            return Ok(false);
        }
        table.remove(device);
        Ok(true)
    }

    async fn of(&self, users: &[UserId]) -> Result<Vec<Route>, StoreError> {
        let now = Instant::now();
        let table = lock(&self.table);
        let devices = users.iter().filter_map(|user| table.by_user.get(user));
        let routes = devices
            .flatten()
            .filter_map(|device| table.by_device.get(device))
            .filter(|route| table.lives(&route.node, now));
        Ok(routes.cloned().collect())
    }

    async fn device(&self, device: DeviceId) -> Result<Option<Route>, StoreError> {
        let now = Instant::now();
        let table = lock(&self.table);
        let route = table.by_device.get(&device);
        Ok(route.filter(|it| table.lives(&it.node, now)).cloned())
    }

    async fn renew(&self, node: &NodeId) -> Result<bool, StoreError> {
        let now = Instant::now();
        let mut table = lock(&self.table);
        let held = table.lives(node, now);
        // Every renewal also clears away what others left behind, so the table stays bounded.
        let mut dead: Vec<NodeId> = table.ends.keys().cloned().collect();
        dead.retain(|other| !table.lives(other, now));
        for other in &dead {
            table.forget(other);
        }
        table.ends.insert(node.clone(), now + self.lease);
        Ok(held)
    }

    async fn nodes(&self) -> Result<Vec<NodeId>, StoreError> {
        let now = Instant::now();
        let table = lock(&self.table);
        Ok(table
            .ends
            .keys()
            .filter(|node| table.lives(node, now))
            .cloned()
            .collect())
    }

    async fn retire(&self, node: &NodeId) -> Result<(), StoreError> {
        lock(&self.table).forget(node);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(node: &NodeId) -> Route {
        Route {
            device: DeviceId::new(7).unwrap(),
            user: UserId::new(1).unwrap(),
            generation: Generation(1),
            node: node.clone(),
            client: "127.0.0.1:9".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_without_a_goodbye() {
        let routes = MemoryRoute::default();
        let (node, other) = (NodeId::boot("a"), NodeId::boot("b"));
        assert!(!routes.renew(&node).await.unwrap());
        routes.claim(&route(&node)).await.unwrap();
        let me = [UserId::new(1).unwrap()];

        tokio::time::advance(Duration::from_millis(14_999)).await;
        assert_eq!(routes.of(&me).await.unwrap().len(), 1);
        assert!(routes.renew(&node).await.unwrap());

        tokio::time::advance(MemoryRoute::LEASE).await;
        assert_eq!(routes.of(&me).await.unwrap(), []);
        assert_eq!(routes.device(route(&node).device).await.unwrap(), None);

        // What the dead node left is cleared away by the living, and it must register anew.
        routes.renew(&other).await.unwrap();
        assert!(lock(&routes.table).by_device.is_empty());
        assert!(!routes.renew(&node).await.unwrap());
    }
}
