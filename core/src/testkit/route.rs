//! Cases of `RouteStore`: the node that holds a device's connection (laws 7 and 8).

use super::StoreFixture;
use super::helpers::{device, together, user, users};
use crate::id::{Generation, NodeId};
use crate::store::{Route, RouteClaimOutcome, StoreSet};

fn route(on: u64, who: u64, generation: u64, node: &NodeId) -> Route {
    Route {
        device: device(on),
        user: user(who),
        generation: Generation(generation),
        node: node.clone(),
        client: "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535"
            .parse()
            .ok(),
    }
}

/// Creates a node with a lease.
async fn node(s: &StoreSet, name: &str) -> NodeId {
    let node = NodeId::boot(name);
    s.route.renew(&node).await.unwrap();
    node
}

/// Returns the generations of these users' live routes, by device.
async fn of(s: &StoreSet, who: &[u64]) -> Vec<(u64, u64)> {
    let who: Vec<_> = who.iter().map(|n| user(*n)).collect();
    let routes = s.route.of(&who).await.unwrap();
    let mut found: Vec<_> = routes
        .iter()
        .map(|it| (it.device.get(), it.generation.0))
        .collect();
    found.sort_unstable();
    found
}

pub(super) async fn a_claimed_route_is_found(it: StoreFixture) {
    let s = &it.stores;
    let node = node(s, "a").await;
    let mine = route(1, 7, 3, &node);
    assert_eq!(
        s.route.claim(&mine).await.unwrap(),
        RouteClaimOutcome::Claimed(None)
    );
    s.route.claim(&route(2, 7, 1, &node)).await.unwrap();
    s.route.claim(&route(3, 8, 1, &node)).await.unwrap();
    assert_eq!(
        s.route.device(user(7), device(1)).await.unwrap(),
        Some(mine)
    );
    assert_eq!(s.route.device(user(7), device(9)).await.unwrap(), None);
    assert_eq!(of(s, &[7]).await, [(1, 3), (2, 1)]);
    assert_eq!(of(s, &[9, 8, 7]).await, [(1, 3), (2, 1), (3, 1)]);
    assert_eq!(of(s, &[]).await, []);
}

/// The larger generation wins, in either order of arrival.
pub(super) async fn the_larger_generation_wins(it: StoreFixture) {
    let s = &it.stores;
    let (a, b) = (node(s, "a").await, node(s, "b").await);
    let (old, new) = (route(1, 7, 4, &a), route(1, 7, 5, &b));
    s.route.claim(&old).await.unwrap();
    let claimed = s.route.claim(&new).await.unwrap();
    assert_eq!(claimed, RouteClaimOutcome::Claimed(Some(old.clone())));
    for _ in 0..2 {
        assert_eq!(
            s.route.claim(&old).await.unwrap(),
            RouteClaimOutcome::Superseded(new.clone())
        );
    }
    assert_eq!(
        s.route.device(user(7), device(1)).await.unwrap(),
        Some(new.clone())
    );
    // The same connection may register again, after its node lost its lease.
    assert!(matches!(
        s.route.claim(&new).await.unwrap(),
        RouteClaimOutcome::Claimed(_)
    ));
    assert_eq!(of(s, &[7]).await, [(1, 5)]);
}

/// C-3, C-6, C-7: in gim a late close removes the route of the new connection.
pub(super) async fn a_stale_release_removes_nothing(it: StoreFixture) {
    let s = &it.stores;
    let node = node(s, "a").await;
    s.route.claim(&route(1, 7, 1, &node)).await.unwrap();
    s.route.claim(&route(1, 7, 2, &node)).await.unwrap();
    for stale in [1, 3, 0] {
        assert!(
            !s.route
                .release(user(7), device(1), Generation(stale))
                .await
                .unwrap()
        );
        assert_eq!(of(s, &[7]).await, [(1, 2)]);
    }
    assert!(
        s.route
            .release(user(7), device(1), Generation(2))
            .await
            .unwrap()
    );
    assert!(
        !s.route
            .release(user(7), device(1), Generation(2))
            .await
            .unwrap()
    );
    assert_eq!(of(s, &[7]).await, []);
    assert_eq!(s.route.device(user(7), device(1)).await.unwrap(), None);
}

/// D1: a device id proves nothing, so another user under it has a route of its own.
pub(super) async fn two_users_on_one_device_have_routes_of_their_own(it: StoreFixture) {
    let s = &it.stores;
    let node = node(s, "a").await;
    s.route.claim(&route(1, 7, 1, &node)).await.unwrap();
    let claimed = s.route.claim(&route(1, 8, 2, &node)).await.unwrap();
    assert_eq!(
        claimed,
        RouteClaimOutcome::Claimed(None),
        "it displaces nobody"
    );
    assert_eq!(of(s, &[7]).await, [(1, 1)]);
    assert_eq!(of(s, &[8]).await, [(1, 2)]);
    assert!(
        !s.route
            .release(user(7), device(1), Generation(2))
            .await
            .unwrap()
    );
    assert!(
        s.route
            .release(user(8), device(1), Generation(2))
            .await
            .unwrap()
    );
    assert_eq!(of(s, &[7, 8]).await, [(1, 1)]);
}

/// C-9: a route counts only while its node's lease is valid.
pub(super) async fn a_route_needs_its_nodes_lease(it: StoreFixture) {
    let s = &it.stores;
    let (a, b) = (node(s, "a").await, NodeId::boot("b"));
    s.route.claim(&route(1, 7, 1, &a)).await.unwrap();
    s.route.claim(&route(2, 7, 1, &b)).await.unwrap();
    assert_eq!(of(s, &[7]).await, [(1, 1)], "node b has taken no lease");
    assert_eq!(s.route.device(user(7), device(2)).await.unwrap(), None);
    let renewed = s.route.renew(&b).await.unwrap();
    assert!(!renewed.held, "it had none before");
    s.route.claim(&route(2, 7, 1, &b)).await.unwrap();
    assert_eq!(of(s, &[7]).await, [(1, 1), (2, 1)]);
    for node in [&a, &b, &a] {
        assert!(s.route.renew(node).await.unwrap().held);
    }
    s.route.retire(&a).await.unwrap();
    assert_eq!(of(s, &[7]).await, [(2, 1)]);
    assert_eq!(s.route.device(user(7), device(1)).await.unwrap(), None);
    assert!(
        !s.route.renew(&a).await.unwrap().held,
        "it has to register again"
    );
    s.route.claim(&route(1, 7, 1, &a)).await.unwrap();
    assert_eq!(of(s, &[7]).await, [(1, 1), (2, 1)]);
}

/// The connect nodes are those with a valid lease.
pub(super) async fn the_nodes_are_those_that_hold_a_lease(it: StoreFixture) {
    let s = &it.stores;
    assert_eq!(s.route.nodes().await.unwrap(), []);
    let (a, b) = (node(s, "a:1").await, node(s, "b#2").await);
    s.route.renew(&a).await.unwrap();
    let mut nodes = s.route.nodes().await.unwrap();
    nodes.sort();
    assert_eq!(nodes, [a.clone(), b.clone()]);
    s.route.retire(&a).await.unwrap();
    assert_eq!(s.route.nodes().await.unwrap(), [b]);
}

/// Law 8: the lease of an earlier run of a node never counts for this run.
pub(super) async fn a_lease_is_of_one_run_of_a_node(it: StoreFixture) {
    let s = &it.stores;
    let before = node(s, "a").await;
    s.route.claim(&route(1, 7, 1, &before)).await.unwrap();
    s.route.claim(&route(2, 7, 1, &before)).await.unwrap();
    let mut now = before.clone();
    now.boot = before.boot.wrapping_add(1);
    assert!(!s.route.renew(&now).await.unwrap().held);
    s.route.claim(&route(1, 7, 2, &now)).await.unwrap();
    s.route.retire(&before).await.unwrap();
    assert_eq!(of(s, &[7]).await, [(1, 2)]);
    assert!(s.route.renew(&now).await.unwrap().held);
}

/// A storm of sign-ins: one device signs in everywhere at once, with late closes. The newest
/// connection survives.
pub(super) async fn the_newest_of_a_storm_survives(it: StoreFixture) {
    let s = it.stores;
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(node(&s, name).await);
    }
    for round in 0..10 {
        let base = round * 64;
        let claims = together(64, |i| {
            let s = s.clone();
            let generation = base + 1 + (i * 29) % 64;
            let mine = route(1, 7, generation, &nodes[usize::try_from(i % 3).unwrap()]);
            async move {
                let claimed = s.route.claim(&mine).await.unwrap();
                if mine.generation.0 < base + 64 {
                    s.route
                        .release(user(7), device(1), mine.generation)
                        .await
                        .unwrap();
                }
                (mine, claimed)
            }
        })
        .await;
        let newest = claims.iter().find(|(it, _)| it.generation.0 == base + 64);
        let (newest, claimed) = newest.unwrap();
        assert!(matches!(claimed, RouteClaimOutcome::Claimed(_)));
        assert_eq!(
            s.route.device(user(7), device(1)).await.unwrap().as_ref(),
            Some(newest)
        );
        let all = s.route.of(&users(5..=9)).await.unwrap();
        assert_eq!(all, std::slice::from_ref(newest));
    }
}

/// D11: a node that starts after the routes were lost cannot detect the loss by its own lease.
pub(super) async fn a_new_store_says_that_routes_may_be_missing(it: StoreFixture) {
    let s = &it.stores;
    for name in ["a", "b"] {
        let renewed = s.route.renew(&NodeId::boot(name)).await.unwrap();
        assert!(renewed.forgot && !renewed.held);
    }
}
