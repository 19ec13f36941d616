//! Registration of routes: a slow registration delays no renewal of the lease.

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::*;
use crate::id::Generation;
use crate::memory::MemoryRoute;
use crate::store::{LeaseRenewal, Route, RouteClaimOutcome, StoreError};

/// A route store whose claims wait for a permit.
#[derive(Debug)]
struct BlockingRouteStore {
    inner: MemoryRoute,
    gate: Semaphore,
}

#[async_trait]
impl RouteStore for BlockingRouteStore {
    async fn claim(&self, route: &Route) -> Result<RouteClaimOutcome, StoreError> {
        let _permit = self.gate.acquire().await.unwrap();
        self.inner.claim(route).await
    }

    async fn release(
        &self,
        user: UserId,
        device: DeviceId,
        generation: Generation,
    ) -> Result<bool, StoreError> {
        self.inner.release(user, device, generation).await
    }

    async fn of(&self, users: &[UserId]) -> Result<Vec<Route>, StoreError> {
        self.inner.of(users).await
    }

    async fn device(&self, user: UserId, device: DeviceId) -> Result<Option<Route>, StoreError> {
        self.inner.device(user, device).await
    }

    async fn renew(&self, node: &NodeId) -> Result<LeaseRenewal, StoreError> {
        self.inner.renew(node).await
    }

    async fn nodes(&self) -> Result<Vec<NodeId>, StoreError> {
        self.inner.nodes().await
    }

    async fn retire(&self, node: &NodeId) -> Result<(), StoreError> {
        self.inner.retire(node).await
    }
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed_while_routes_are_registered() {
    let store = Arc::new(BlockingRouteStore {
        inner: MemoryRoute::default(),
        gate: Semaphore::new(1),
    });
    let mut stores = memory::stores();
    stores.route = Arc::clone(&store) as _;
    let node = node(&stores);
    let (_alice, _) = live(&node, 1, 10, 0).await;
    // The lease is lost, so all routes are registered again, and the store does not answer.
    let closed = store.gate.acquire().await.unwrap();
    let here = store.nodes().await.unwrap();
    store.retire(&here[0]).await.unwrap();
    tokio::time::sleep(MemoryRoute::LEASE * 3).await;
    assert_eq!(store.nodes().await.unwrap(), here, "the lease is held");
    assert_eq!(store.of(&[user(1)]).await.unwrap(), []);
    drop(closed);
    let registered = async {
        while store.of(&[user(1)]).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let registered = tokio::time::timeout(MemoryRoute::LEASE, registered).await;
    assert!(registered.is_ok(), "the registration goes on");
    node.stop().await;
}
