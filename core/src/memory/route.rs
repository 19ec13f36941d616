//! Routes of one process: for in-memory storage, and for an embedded engine.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::id::{DeviceId, Generation, NodeId, UserId};
use crate::memory::helpers::lock;
use crate::store::{LeaseRenewal, Route, RouteClaimOutcome, RouteStore, StoreError};

/// Routes: the node that holds each device's connection, valid while that node's lease is.
///
/// Leases expire by the monotonic clock of `tokio::time`, never by wall time (law 12).
#[derive(Debug)]
pub struct MemoryRoute {
    lease: Duration,
    made: Instant,
    // A std mutex, because it is held for map look-ups and never over an await.
    table: Mutex<RouteTable>,
}

/// Leases and routes. A route makes no allocation of its own, so that a table of many connections
/// stays small.
#[derive(Debug, Default)]
struct RouteTable {
    ends: HashMap<Arc<NodeId>, Instant>,
    /// In the order of users, so that all routes of a user are adjacent.
    routes: BTreeMap<(UserId, DeviceId), StoredRoute>,
}

/// A route without its user and device.
#[derive(Debug)]
struct StoredRoute {
    generation: Generation,
    node: Arc<NodeId>,
    client: Option<SocketAddr>,
}

impl StoredRoute {
    fn route(&self, (user, device): (UserId, DeviceId)) -> Route {
        Route {
            device,
            user,
            generation: self.generation,
            node: NodeId::clone(&self.node),
            client: self.client,
        }
    }
}

impl Default for MemoryRoute {
    fn default() -> Self {
        Self::new(Self::LEASE)
    }
}

impl MemoryRoute {
    /// Default time after which a lease expires without a renewal.
    pub const LEASE: Duration = Duration::from_secs(15);

    /// Creates an empty table whose leases expire after this time without a renewal.
    #[must_use]
    pub fn new(lease: Duration) -> Self {
        Self {
            lease,
            made: Instant::now(),
            table: Mutex::default(),
        }
    }
}

impl RouteTable {
    fn lives(&self, node: &NodeId, now: Instant) -> bool {
        self.ends.get(node).is_some_and(|end| *end > now)
    }

    fn insert(&mut self, route: &Route) -> Option<Route> {
        let held = StoredRoute {
            generation: route.generation,
            node: self.node(&route.node),
            client: route.client,
        };
        let key = (route.user, route.device);
        self.routes.insert(key, held).map(|it| it.route(key))
    }

    /// Returns the shared name of the node, which its lease and its routes use.
    fn node(&self, node: &NodeId) -> Arc<NodeId> {
        let known = self.ends.get_key_value(node);
        known.map_or_else(|| Arc::new(node.clone()), |(known, _)| Arc::clone(known))
    }

    /// Removes a node's lease and its routes.
    fn forget(&mut self, node: &NodeId) {
        self.ends.remove(node);
        self.routes.retain(|_, held| *held.node != *node);
    }
}

#[async_trait]
impl RouteStore for MemoryRoute {
    async fn claim(&self, route: &Route) -> Result<RouteClaimOutcome, StoreError> {
        let mut table = lock(&self.table);
        let key = (route.user, route.device);
        match table.routes.get(&key) {
            Some(now) if now.generation > route.generation => {
                return Ok(RouteClaimOutcome::Superseded(now.route(key)));
            }
            Some(now) if now.generation == route.generation => {
                if *now.node != route.node {
                    return Ok(RouteClaimOutcome::Superseded(now.route(key)));
                }
                // The same connection registers again, which displaces no route.
                table.insert(route);
                return Ok(RouteClaimOutcome::Claimed(None));
            }
            _ => {}
        }
        Ok(RouteClaimOutcome::Claimed(table.insert(route)))
    }

    async fn release(
        &self,
        user: UserId,
        device: DeviceId,
        generation: Generation,
    ) -> Result<bool, StoreError> {
        let mut table = lock(&self.table);
        let held = table.routes.get(&(user, device));
        if held.is_none_or(|held| held.generation != generation) {
            return Ok(false);
        }
        table.routes.remove(&(user, device));
        Ok(true)
    }

    async fn of(&self, users: &[UserId]) -> Result<Vec<Route>, StoreError> {
        let now = Instant::now();
        let table = lock(&self.table);
        let held = users.iter().flat_map(|&user| {
            let all = (user, DeviceId::MIN)..=(user, DeviceId::MAX);
            table.routes.range(all)
        });
        let routes = held
            .filter(|(_, held)| table.lives(&held.node, now))
            .map(|(key, held)| held.route(*key));
        Ok(routes.collect())
    }

    async fn device(&self, user: UserId, device: DeviceId) -> Result<Option<Route>, StoreError> {
        let now = Instant::now();
        let table = lock(&self.table);
        let held = table.routes.get(&(user, device));
        let held = held.filter(|it| table.lives(&it.node, now));
        Ok(held.map(|it| it.route((user, device))))
    }

    async fn renew(&self, node: &NodeId) -> Result<LeaseRenewal, StoreError> {
        let now = Instant::now();
        let mut table = lock(&self.table);
        let held = table.lives(node, now);
        // Every renewal also removes expired leases and their routes, so the table stays bounded.
        let mut dead: Vec<Arc<NodeId>> = table.ends.keys().cloned().collect();
        dead.retain(|other| !table.lives(other, now));
        for other in &dead {
            table.forget(other);
        }
        let node = table.node(node);
        table.ends.insert(node, now + self.lease);
        let forgot = now.duration_since(self.made) < self.lease;
        Ok(LeaseRenewal { held, forgot })
    }

    async fn nodes(&self) -> Result<Vec<NodeId>, StoreError> {
        let now = Instant::now();
        let table = lock(&self.table);
        Ok(table
            .ends
            .keys()
            .filter(|node| table.lives(node, now))
            .map(|node| NodeId::clone(node))
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
            client: "127.0.0.1:9".parse().ok(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_without_a_goodbye() {
        let routes = MemoryRoute::default();
        let (node, other) = (NodeId::boot("a"), NodeId::boot("b"));
        let renewed = routes.renew(&node).await.unwrap();
        assert!(!renewed.held && renewed.forgot, "the table is new");
        routes.claim(&route(&node)).await.unwrap();
        let me = [UserId::new(1).unwrap()];

        tokio::time::advance(Duration::from_millis(14_999)).await;
        assert_eq!(routes.of(&me).await.unwrap().len(), 1);
        assert!(routes.renew(&node).await.unwrap().held);

        tokio::time::advance(MemoryRoute::LEASE).await;
        assert_eq!(routes.of(&me).await.unwrap(), []);
        let gone = routes.device(me[0], route(&node).device).await;
        assert_eq!(gone.unwrap(), None);

        // The renewal of another node removes the routes of the dead one, which must register
        // again.
        routes.renew(&other).await.unwrap();
        assert!(lock(&routes.table).routes.is_empty());
        let renewed = routes.renew(&node).await.unwrap();
        assert!(!renewed.held && !renewed.forgot);
    }
}
