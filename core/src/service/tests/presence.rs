//! Presence: hooks are told who comes online and goes offline, after a delay.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::events::hooked_fixture;
use super::*;
use crate::events::{EventBody, HookName};
use crate::memory::MemoryConfig;
use crate::store::Route;

/// Stores whose routes last as long as a test.
fn lasting_routes() -> StoreSet {
    let memory = MemoryConfig {
        lease: Duration::from_hours(24),
        ..MemoryConfig::default()
    };
    memory.stores()
}

impl ServiceFixture {
    /// Signs the user in, and claims a route with the new generation.
    async fn connect(&self, n: u64) -> Route {
        let (user, device) = (user(n), device(n));
        let granted = self
            .service
            .sign_in(user, device, "right", Seq::ZERO)
            .await
            .unwrap();
        let routes = &self.service.stores().route;
        let node = NodeId {
            name: "connect".into(),
            boot: 1,
        };
        routes.renew(&node).await.unwrap();
        let route = Route {
            device,
            user,
            generation: granted.generation,
            node,
            client: None,
        };
        routes.claim(&route).await.unwrap();
        route
    }

    async fn leave(&self, route: &Route) {
        let routes = &self.service.stores().route;
        let released = routes.release(route.user, route.device, route.generation);
        assert!(released.await.unwrap());
    }

    async fn written(&self) {
        let hook = HookName::new("all").unwrap();
        self.service.events().written(&hook).await;
    }

    /// Returns the users that came online, and those that went offline as negative numbers.
    async fn presence(&self) -> Vec<i64> {
        let events = self.events().await;
        let number = |body: &EventBody| match body {
            EventBody::Online { user } => user.to_wire(),
            EventBody::Offline { user } => -user.to_wire(),
            other => panic!("{other:?}"),
        };
        events.iter().map(number).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_is_reported_online_and_later_offline() {
    let world = hooked_fixture(lasting_routes());
    let began = Instant::now();
    let route = world.connect(1).await;
    let second = {
        let mut other = route.clone();
        other.device = device(2);
        world.service.stores().route.claim(&other).await.unwrap();
        other
    };
    world.written().await;
    assert_eq!(world.presence().await, [1]);
    assert_eq!(began.elapsed().as_secs(), 3);
    world.leave(&route).await;
    sleep(Duration::from_mins(5)).await;
    assert_eq!(world.presence().await, [1], "another device is connected");
    let left = Instant::now();
    world.leave(&second).await;
    world.written().await;
    assert_eq!(world.presence().await, [1, -1]);
    assert!((10..=30).contains(&left.elapsed().as_secs()));
    // A later sign-in begins anew.
    world.connect(1).await;
    world.written().await;
    assert_eq!(world.presence().await, [1, -1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_and_a_short_connection_are_not_reported() {
    let world = hooked_fixture(lasting_routes());
    let short = world.connect(2).await;
    world.leave(&short).await;
    let first = world.connect(1).await;
    world.written().await;
    // The check at 23 s finds no route, and the next one would be at 33 s, before the new route.
    world.leave(&first).await;
    sleep(Duration::from_millis(28_500)).await;
    let again = world
        .service
        .sign_in(user(1), device(1), "right", Seq::ZERO)
        .await;
    sleep(Duration::from_millis(2_900)).await;
    let route = Route {
        generation: again.unwrap().generation,
        ..first
    };
    world.service.stores().route.claim(&route).await.unwrap();
    sleep(Duration::from_mins(5)).await;
    assert_eq!(world.presence().await, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_user_of_a_dead_node_goes_offline() {
    let stores = MemoryConfig {
        lease: Duration::from_mins(1),
        ..MemoryConfig::default()
    };
    let world = hooked_fixture(stores.stores());
    world.connect(1).await;
    for expected in [vec![1], vec![1, -1]] {
        world.written().await;
        assert_eq!(world.presence().await, expected);
    }
}
