//! Delivery to this node and to other nodes.
//! Long because all cases share one pair of nodes.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::*;
use crate::id::{Generation, NodeId};
use crate::memory;
use crate::message::MessageReceiver;
use crate::peer::{PeerNodes, SingleNodePeer};
use crate::seq::Seq;
use crate::store::{
    AckMark, Device, DeviceInfo, DeviceStore, LeaseRenewal, Route, RouteClaimOutcome, RouteStore,
    StoreError, StoreErrorKind, StoreSet,
};
use crate::test_fixtures::envelope;
use crate::testkit::helpers::{device, message, user};
use crate::time::UnixTimestamp;

/// A route store that fails, and counts its reads.
#[derive(Debug, Default)]
struct UnavailableRoutes {
    reads: Mutex<usize>,
    /// The store that takes claims; without it, claims fail as well.
    claims: Option<Arc<dyn RouteStore>>,
}

#[async_trait]
impl RouteStore for UnavailableRoutes {
    async fn claim(&self, route: &Route) -> Result<RouteClaimOutcome, StoreError> {
        match &self.claims {
            Some(claims) => claims.claim(route).await,
            None => Err(StoreError::new("route.claim", StoreErrorKind::Unavailable)),
        }
    }

    async fn release(&self, _: UserId, _: DeviceId, _: Generation) -> Result<bool, StoreError> {
        Err(StoreError::new(
            "route.release",
            StoreErrorKind::Unavailable,
        ))
    }

    async fn of(&self, _: &[UserId]) -> Result<Vec<Route>, StoreError> {
        *self.reads.lock().unwrap() += 1;
        Err(StoreError::new("route.of", StoreErrorKind::Unavailable))
    }

    async fn device(&self, _: UserId, _: DeviceId) -> Result<Option<Route>, StoreError> {
        Err(StoreError::new("route.device", StoreErrorKind::Unavailable))
    }

    async fn renew(&self, _: &NodeId) -> Result<LeaseRenewal, StoreError> {
        Err(StoreError::new("route.renew", StoreErrorKind::Unavailable))
    }

    async fn nodes(&self) -> Result<Vec<NodeId>, StoreError> {
        Err(StoreError::new("route.nodes", StoreErrorKind::Unavailable))
    }

    async fn retire(&self, _: &NodeId) -> Result<(), StoreError> {
        Err(StoreError::new("route.retire", StoreErrorKind::Unavailable))
    }
}

/// A sign-in of a user on a device.
type RecordedSignIn = (Arc<dyn DeviceStore>, DeviceId, UserId);

/// Two other nodes, with a record of the calls to them.
#[derive(Debug, Default)]
struct RecordingPeerPair {
    deliveries: Mutex<Vec<(String, usize)>>,
    closed: Mutex<Vec<String>>,
    takeovers: Mutex<Vec<(String, u64)>>,
    /// True if the nodes do not acknowledge revocations.
    unreachable: bool,
    /// A sign-in that takes place while the nodes are called.
    sign_in: Mutex<Option<RecordedSignIn>>,
}

#[async_trait]
impl PeerNodes for RecordingPeerPair {
    async fn nodes(&self) -> Vec<NodeId> {
        vec![node("b"), node("c")]
    }

    async fn deliver(&self, node: &NodeId, deliveries: Vec<DeliveryBatch>) -> bool {
        let noted = (node.name.clone(), deliveries.len());
        self.deliveries.lock().unwrap().push(noted);
        node.name != "c"
    }

    async fn supersede(&self, node: &NodeId, _: UserId, _: DeviceId, generation: Generation) {
        let told = (node.name.clone(), generation.0);
        self.takeovers.lock().unwrap().push(told);
    }

    async fn disconnect(&self, node: &NodeId, _: UserId, _: Option<DeviceId>, _: &str) -> bool {
        self.closed.lock().unwrap().push(node.name.clone());
        let sign_in = self.sign_in.lock().unwrap().take();
        if let Some((devices, device, user)) = sign_in {
            let raised = devices.raise(&[(device, user)], UnixTimestamp(2)).await;
            assert!(raised.is_ok());
        }
        !self.unreachable
    }
}

/// Counts delivery batches.
#[derive(Debug, Default)]
struct CountingSink(Mutex<usize>);

impl LocalSink for CountingSink {
    fn deliver(&self, deliveries: &[DeliveryBatch]) {
        *self.0.lock().unwrap() += deliveries.len();
    }

    fn disconnect(&self, _: UserId, _: Option<DeviceId>, _: &str) {
        *self.0.lock().unwrap() += 100;
    }
}

fn node(name: &str) -> NodeId {
    NodeId {
        name: name.into(),
        boot: 1,
    }
}

fn entry(to: u64) -> DeliveryBatch {
    let message = message(MessageReceiver::User(user(to)), "");
    DeliveryBatch::Entries {
        envelope: envelope(message),
        to: vec![(user(to), Seq::new(1))],
    }
}

async fn routed() -> Arc<dyn RouteStore> {
    let routes = memory::stores().route;
    for (n, on) in [(1, "here"), (2, "b"), (3, "c")] {
        assert!(routes.renew(&node(on)).await.is_ok());
        let route = Route {
            device: device(n),
            user: user(n),
            generation: Generation(1),
            node: node(on),
            client: None,
        };
        routes.claim(&route).await.unwrap();
    }
    routes
}

#[tokio::test]
async fn batches_reach_the_recipients_nodes_although_one_node_is_absent() {
    let (sink, peer) = (
        Arc::new(CountingSink::default()),
        Arc::new(RecordingPeerPair::default()),
    );
    let fanout = MessageFanout::new(
        node("here"),
        Arc::clone(&sink) as _,
        Arc::clone(&peer) as _,
        routed().await,
    );
    fanout
        .deliver(vec![entry(1), entry(3), entry(2), entry(3)])
        .await;
    assert_eq!(*sink.0.lock().unwrap(), 4);
    let handed = peer.deliveries.lock().unwrap().clone();
    assert_eq!(handed, [("b".to_owned(), 1), ("c".to_owned(), 2)]);
}

#[tokio::test]
async fn a_device_is_closed_on_every_node_whatever_its_route_says() {
    let routes = routed().await;
    // Device 9 has no route; device 4 is on a node that is not listed yet.
    let newer = Route {
        device: device(4),
        user: user(4),
        generation: Generation(1),
        node: node("d"),
        client: None,
    };
    assert!(routes.renew(&newer.node).await.is_ok());
    routes.claim(&newer).await.unwrap();
    let broken: Arc<dyn RouteStore> = Arc::new(UnavailableRoutes::default());
    let listed = vec!["b", "c"];
    let cases = [
        (1, &routes, listed.clone()),
        (2, &routes, listed.clone()),
        (4, &routes, vec!["b", "c", "d"]),
        (9, &routes, listed.clone()),
        (1, &broken, listed),
    ];
    for (n, routes, asked) in cases {
        let (sink, peer) = (
            Arc::new(CountingSink::default()),
            Arc::new(RecordingPeerPair::default()),
        );
        let (local, others) = (Arc::clone(&sink), Arc::clone(&peer));
        let fanout = MessageFanout::new(node("here"), local, others, Arc::clone(routes));
        assert!(fanout.disconnect(user(n), Some(device(n)), "revoked").await);
        let mut closed = peer.closed.lock().unwrap().clone();
        closed.sort();
        assert_eq!(closed, asked);
        assert_eq!(*sink.0.lock().unwrap(), 100);
    }
}

/// Without the fence an unreachable node would go on serving the device, and register it again.
#[tokio::test]
async fn an_unacknowledged_revocation_fences_the_device() {
    for one in [true, false] {
        for stranger in [false, true] {
            older_connection(one, stranger).await;
        }
    }
}

/// Registers a device, and signs the user with the same number in on it.
async fn register(stores: &StoreSet, n: u64) {
    let info = DeviceInfo {
        kind: 1,
        brand: String::new(),
        model: String::new(),
        system_version: String::new(),
        sdk_version: String::new(),
    };
    let at = UnixTimestamp(1);
    let registered = stores.device.register(device(n), &info, at).await;
    registered.unwrap();
    let raised = stores.device.raise(&[(device(n), user(n))], at).await;
    assert_eq!(raised.unwrap(), [Generation(1)]);
}

/// Registers the route of a device on node b, in its first generation.
async fn route(stores: &StoreSet, n: u64) -> Route {
    let held = Route {
        device: device(n),
        user: user(n),
        generation: Generation(1),
        node: node("b"),
        client: None,
    };
    assert!(stores.route.renew(&held.node).await.is_ok());
    stores.route.claim(&held).await.unwrap();
    held
}

/// Makes a fan-out to nodes that do not acknowledge, over these stores.
fn to_unreachable_nodes(stores: &StoreSet) -> (MessageFanout, Arc<RecordingPeerPair>) {
    let peer = Arc::new(RecordingPeerPair {
        unreachable: true,
        ..RecordingPeerPair::default()
    });
    let fanout = MessageFanout::new(
        node("here"),
        Arc::new(NoConnections),
        Arc::clone(&peer) as _,
        Arc::clone(&stores.route),
    );
    (fanout.with_devices(Arc::clone(&stores.device)), peer)
}

/// Revokes one device, or all devices of the user. With `stranger`, another user has signed in
/// under the device's id, and is the last user in the device's record.
async fn older_connection(one: bool, stranger: bool) {
    let (stores, at) = (memory::stores(), UnixTimestamp(1));
    register(&stores, 2).await;
    if stranger {
        let raised = stores.device.raise(&[(device(2), user(9))], at).await;
        assert!(raised.is_ok());
    }
    let raised = 2 + u64::from(stranger);
    let held = route(&stores, 2).await;
    // Routes may be lost, but the devices that have acked are known.
    let ack = AckMark {
        user: user(2),
        device: device(2),
        upto: Seq::new(1),
    };
    stores.device.ack(&[ack]).await.unwrap();
    if !one {
        let gone = stores
            .route
            .release(user(2), device(2), Generation(1))
            .await;
        assert!(gone.unwrap());
    }
    for deaf in [false, true] {
        let peer = Arc::new(RecordingPeerPair {
            unreachable: deaf,
            ..RecordingPeerPair::default()
        });
        let (route, devices) = (Arc::clone(&stores.route), Arc::clone(&stores.device));
        let fanout = MessageFanout::new(
            node("here"),
            Arc::new(NoConnections),
            Arc::clone(&peer) as _,
            route,
        )
        .with_devices(devices);
        assert!(
            fanout
                .disconnect(user(2), one.then(|| device(2)), "revoked")
                .await
        );
        let mut told = peer.takeovers.lock().unwrap().clone();
        told.sort();
        let again = stores.route.claim(&held).await.unwrap();
        if deaf {
            assert_eq!(told, [("b".to_owned(), raised), ("c".to_owned(), raised)]);
            assert!(
                matches!(again, RouteClaimOutcome::Superseded(_)),
                "{again:?}"
            );
            assert!(stores.route.of(&[user(2)]).await.unwrap().is_empty());
        } else {
            assert!(told.is_empty() && matches!(again, RouteClaimOutcome::Claimed(_)));
        }
    }
    // The next sign-in has a newer generation than the fence.
    let next = stores.device.raise(&[(device(2), user(2))], at).await;
    let generation = next.unwrap()[0];
    let next = stores.route.claim(&Route { generation, ..held }).await;
    assert!(
        matches!(next, Ok(RouteClaimOutcome::Claimed(_))),
        "{next:?}"
    );
}

/// The list of nodes may be slightly older than a route.
#[tokio::test]
async fn a_node_that_is_not_listed_yet_gets_the_parcels_of_its_routes() {
    #[derive(Debug, Default)]
    struct UnlistedPeer(RecordingPeerPair);

    #[async_trait]
    impl PeerNodes for UnlistedPeer {
        async fn nodes(&self) -> Vec<NodeId> {
            Vec::new()
        }

        async fn deliver(&self, node: &NodeId, deliveries: Vec<DeliveryBatch>) -> bool {
            self.0.deliver(node, deliveries).await
        }

        async fn supersede(&self, _: &NodeId, _: UserId, _: DeviceId, _: Generation) {}

        async fn disconnect(&self, _: &NodeId, _: UserId, _: Option<DeviceId>, _: &str) -> bool {
            true
        }
    }

    let peer = Arc::new(UnlistedPeer::default());
    let sink = Arc::new(CountingSink::default());
    let fanout = MessageFanout::new(node("here"), sink, Arc::clone(&peer) as _, routed().await);
    fanout.deliver(vec![entry(1), entry(2)]).await;
    let handed = peer.0.deliveries.lock().unwrap().clone();
    assert_eq!(handed, [("b".to_owned(), 1)]);
}

#[tokio::test]
async fn routes_are_read_once_a_batch_and_never_without_other_nodes() {
    let (sink, routes) = (
        Arc::new(CountingSink::default()),
        Arc::new(UnavailableRoutes::default()),
    );
    let fanout = |peer| {
        MessageFanout::new(
            node("here"),
            Arc::clone(&sink) as _,
            peer,
            Arc::clone(&routes) as _,
        )
    };
    let deliveries = || vec![entry(1), entry(2)];
    fanout(Arc::new(SingleNodePeer)).deliver(deliveries()).await;
    assert_eq!(*routes.reads.lock().unwrap(), 0);
    // Unreadable routes delay recipients on other nodes, and none here.
    let peer = Arc::new(RecordingPeerPair::default());
    fanout(Arc::clone(&peer) as _).deliver(deliveries()).await;
    assert_eq!(*routes.reads.lock().unwrap(), 1);
    assert!(peer.deliveries.lock().unwrap().is_empty());
    assert_eq!(*sink.0.lock().unwrap(), 4);
}

/// D4: with the routes lost, no node was called.
#[tokio::test]
async fn d4_all_devices_of_a_user_are_closed_on_every_node_although_no_route_is_known() {
    let (sink, peer) = (
        Arc::new(CountingSink::default()),
        Arc::new(RecordingPeerPair::default()),
    );
    let (local, others) = (Arc::clone(&sink), Arc::clone(&peer));
    let lost: Arc<dyn RouteStore> = Arc::new(memory::MemoryRoute::default());
    let fanout = MessageFanout::new(node("here"), local, others, lost);
    assert!(fanout.disconnect(user(9), None, "banned").await);
    let mut closed = peer.closed.lock().unwrap().clone();
    closed.sort();
    assert_eq!(closed, ["b", "c"]);
    assert_eq!(*sink.0.lock().unwrap(), 100);
}

/// A revocation is confirmed only if it has taken effect.
#[tokio::test]
async fn a_revocation_that_may_be_without_effect_is_not_answered_as_done() {
    let stores = memory::stores();
    let (fanout, _) = to_unreachable_nodes(&stores);
    assert!(!fanout.disconnect(user(9), None, "banned").await);
    assert!(!fanout.disconnect(user(9), Some(device(9)), "banned").await);
}

/// A device store that fails or hangs.
#[derive(Debug)]
struct FaultyDevices {
    inner: Arc<dyn DeviceStore>,
    /// Number of records that can still be read.
    readable: Mutex<usize>,
    acks_fail: bool,
    raise_hangs: bool,
}

impl FaultyDevices {
    /// Puts a store with `readable` readable records in front of the devices.
    fn with(stores: &mut StoreSet, readable: usize, change: impl FnOnce(&mut Self)) {
        let mut faulty = Self {
            inner: Arc::clone(&stores.device),
            readable: Mutex::new(readable),
            acks_fail: false,
            raise_hangs: false,
        };
        change(&mut faulty);
        stores.device = Arc::new(faulty);
    }
}

#[async_trait]
impl DeviceStore for FaultyDevices {
    async fn register(
        &self,
        id: DeviceId,
        info: &DeviceInfo,
        at: UnixTimestamp,
    ) -> Result<(), StoreError> {
        self.inner.register(id, info, at).await
    }

    async fn get(&self, device: DeviceId) -> Result<Option<Device>, StoreError> {
        {
            let mut readable = self.readable.lock().unwrap();
            let left = readable.checked_sub(1);
            *readable = left.ok_or(StoreError::new("device.get", StoreErrorKind::Unavailable))?;
        }
        self.inner.get(device).await
    }

    async fn is_known(&self, user: UserId, device: DeviceId) -> Result<bool, StoreError> {
        self.inner.is_known(user, device).await
    }

    async fn raise(
        &self,
        sign_ins: &[(DeviceId, UserId)],
        at: UnixTimestamp,
    ) -> Result<Vec<Generation>, StoreError> {
        if self.raise_hangs {
            return std::future::pending().await;
        }
        self.inner.raise(sign_ins, at).await
    }

    async fn ack(&self, acks: &[AckMark]) -> Result<(), StoreError> {
        self.inner.ack(acks).await
    }

    async fn acked(&self, user: UserId) -> Result<Vec<(DeviceId, Seq)>, StoreError> {
        if self.acks_fail {
            return Err(StoreError::new("device.acked", StoreErrorKind::Unavailable));
        }
        self.inner.acked(user).await
    }
}

/// A store that failed after the nodes were called made every device count as fenced.
#[tokio::test]
async fn a_revocation_whose_device_cannot_be_read_is_not_answered_as_done() {
    for readable in [0, 1] {
        for one in [true, false] {
            let mut stores = memory::stores();
            register(&stores, 2).await;
            route(&stores, 2).await;
            FaultyDevices::with(&mut stores, readable, |_| {});
            let (fanout, peer) = to_unreachable_nodes(&stores);
            let revoked = fanout.disconnect(user(2), one.then(|| device(2)), "revoked");
            assert!(!revoked.await, "readable {readable}, one {one}");
            assert!(peer.takeovers.lock().unwrap().is_empty());
        }
    }
}

/// A device that never acked is known from its route only.
#[tokio::test]
async fn a_revocation_whose_list_of_devices_is_unreadable_is_not_answered_as_done() {
    for acks_fail in [true, false] {
        let mut stores = memory::stores();
        for n in [2, 3] {
            register(&stores, n).await;
        }
        let ack = AckMark {
            user: user(2),
            device: device(3),
            upto: Seq::new(1),
        };
        stores.device.ack(&[ack]).await.unwrap();
        route(&stores, 2).await;
        if acks_fail {
            FaultyDevices::with(&mut stores, usize::MAX, |it| it.acks_fail = true);
        } else {
            let claims = Some(Arc::clone(&stores.route));
            let reads = Mutex::default();
            stores.route = Arc::new(UnavailableRoutes { reads, claims });
        }
        let (fanout, peer) = to_unreachable_nodes(&stores);
        assert!(!fanout.disconnect(user(2), None, "banned").await);
        // The devices that are known are fenced nevertheless.
        assert_eq!(peer.takeovers.lock().unwrap().len(), 2, "{acks_fail}");
    }
}

/// Without a route that points to no node, other nodes still deliver to the old connection.
#[tokio::test]
async fn a_revocation_whose_route_is_not_replaced_is_not_answered_as_done() {
    let mut stores = memory::stores();
    register(&stores, 2).await;
    stores.route = Arc::new(UnavailableRoutes::default());
    let (fanout, peer) = to_unreachable_nodes(&stores);
    assert!(!fanout.disconnect(user(2), Some(device(2)), "revoked").await);
    assert_eq!(peer.takeovers.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_whose_device_store_hangs_is_answered() {
    let mut stores = memory::stores();
    register(&stores, 2).await;
    route(&stores, 2).await;
    FaultyDevices::with(&mut stores, usize::MAX, |it| it.raise_hangs = true);
    let (fanout, _) = to_unreachable_nodes(&stores);
    let revoked = fanout.disconnect(user(2), Some(device(2)), "revoked");
    let revoked = tokio::time::timeout(std::time::Duration::from_mins(1), revoked).await;
    assert_eq!(revoked, Ok(false));
}

/// The device never acked: its generation was read after the calls.
#[tokio::test]
async fn a_sign_in_during_a_revocation_is_not_fenced() {
    let stores = memory::stores();
    register(&stores, 2).await;
    route(&stores, 2).await;
    let (fanout, peer) = to_unreachable_nodes(&stores);
    let sign_in = (Arc::clone(&stores.device), device(2), user(2));
    *peer.sign_in.lock().unwrap() = Some(sign_in);
    assert!(fanout.disconnect(user(2), None, "banned").await);
    assert!(peer.takeovers.lock().unwrap().is_empty());
    let record = stores.device.get(device(2)).await.unwrap().unwrap();
    assert_eq!(record.generation, Generation(2));
}

/// gim lets a device sign in without a registration; it has a generation and no record.
#[tokio::test]
async fn an_unregistered_device_is_fenced_by_its_route() {
    let stores = memory::stores();
    let sign_in = [(device(2), user(2))];
    let raised = stores.device.raise(&sign_in, UnixTimestamp(1)).await;
    assert_eq!(raised.unwrap(), [Generation(1)]);
    let held = route(&stores, 2).await;
    for one in [true, false] {
        let (fanout, peer) = to_unreachable_nodes(&stores);
        let revoked = fanout.disconnect(user(2), one.then(|| device(2)), "revoked");
        assert!(revoked.await);
        assert_eq!(peer.takeovers.lock().unwrap().len(), 2);
        let again = stores.route.claim(&held).await.unwrap();
        assert!(
            matches!(again, RouteClaimOutcome::Superseded(_)),
            "{again:?}"
        );
        // The next round finds the device signed in again.
        let raised = stores.device.raise(&sign_in, UnixTimestamp(1)).await;
        let generation = raised.unwrap()[0];
        let next = Route {
            generation,
            ..held.clone()
        };
        let next = stores.route.claim(&next).await.unwrap();
        assert!(matches!(next, RouteClaimOutcome::Claimed(_)), "{next:?}");
    }
}
