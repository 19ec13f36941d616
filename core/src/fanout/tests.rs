//! Delivery to this node and to other nodes.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::*;
use crate::envelope::Envelope;
use crate::id::{Generation, MessageId, NodeId};
use crate::memory;
use crate::message::{Content, Message, Profile, Receiver, Sender, UnknownFields};
use crate::peer::{Alone, Peer};
use crate::seq::Seq;
use crate::store::{AckMark, Claim, DeviceInfo, DeviceRoute, Kind, Renewal, Route, StoreError};
use crate::time::Timestamp;

/// A route store that fails, and counts its reads.
#[derive(Debug, Default)]
struct Broken(Mutex<usize>);

#[async_trait]
impl DeviceRoute for Broken {
    async fn claim(&self, _: &Route) -> Result<Claim, StoreError> {
        Err(StoreError::new("route.claim", Kind::Unavailable))
    }

    async fn release(&self, _: UserId, _: DeviceId, _: Generation) -> Result<bool, StoreError> {
        Err(StoreError::new("route.release", Kind::Unavailable))
    }

    async fn of(&self, _: &[UserId]) -> Result<Vec<Route>, StoreError> {
        *self.0.lock().unwrap() += 1;
        Err(StoreError::new("route.of", Kind::Unavailable))
    }

    async fn device(&self, _: UserId, _: DeviceId) -> Result<Option<Route>, StoreError> {
        Err(StoreError::new("route.device", Kind::Unavailable))
    }

    async fn renew(&self, _: &NodeId) -> Result<Renewal, StoreError> {
        Err(StoreError::new("route.renew", Kind::Unavailable))
    }

    async fn nodes(&self) -> Result<Vec<NodeId>, StoreError> {
        Err(StoreError::new("route.nodes", Kind::Unavailable))
    }

    async fn retire(&self, _: &NodeId) -> Result<(), StoreError> {
        Err(StoreError::new("route.retire", Kind::Unavailable))
    }
}

/// Two other nodes, with a record of the calls to them.
#[derive(Debug, Default)]
struct Neighbours {
    parcels: Mutex<Vec<(String, usize)>>,
    closed: Mutex<Vec<String>>,
    told: Mutex<Vec<(String, u64)>>,
    /// True if the nodes do not acknowledge revocations.
    deaf: bool,
}

#[async_trait]
impl Peer for Neighbours {
    async fn nodes(&self) -> Vec<NodeId> {
        vec![node("b"), node("c")]
    }

    async fn deliver(&self, node: &NodeId, parcels: Vec<Parcel>) -> bool {
        let noted = (node.name.clone(), parcels.len());
        self.parcels.lock().unwrap().push(noted);
        node.name != "c"
    }

    async fn supersede(&self, node: &NodeId, _: UserId, _: DeviceId, generation: Generation) {
        let told = (node.name.clone(), generation.0);
        self.told.lock().unwrap().push(told);
    }

    async fn disconnect(&self, node: &NodeId, _: UserId, _: Option<DeviceId>, _: &str) -> bool {
        self.closed.lock().unwrap().push(node.name.clone());
        !self.deaf
    }
}

/// Counts delivery batches.
#[derive(Debug, Default)]
struct Count(Mutex<usize>);

impl LocalSink for Count {
    fn deliver(&self, parcels: &[Parcel]) {
        *self.0.lock().unwrap() += parcels.len();
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

fn user(n: u64) -> UserId {
    UserId::new(n).unwrap()
}

fn device(n: u64) -> DeviceId {
    DeviceId::new(n).unwrap()
}

fn entry(to: u64) -> Parcel {
    let message = Message {
        id: MessageId::generate(),
        sender: Sender::System,
        receiver: Receiver::User(user(to)),
        mentions: Vec::new(),
        kind: 1,
        content: Content::default(),
        sent_at: Timestamp(0),
        unknown: UnknownFields::NONE,
    };
    let envelope = Envelope::new(Arc::new(message), Arc::new(Profile::default()), 0);
    Parcel::Entries {
        envelope: Arc::new(envelope),
        to: vec![(user(to), Seq::new(1))],
    }
}

async fn routed() -> Arc<dyn DeviceRoute> {
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
async fn parcels_go_where_their_readers_are_and_one_absent_node_stops_nobody() {
    let (sink, peer) = (Arc::new(Count::default()), Arc::new(Neighbours::default()));
    let fanout = Fanout::new(
        node("here"),
        Arc::clone(&sink) as _,
        Arc::clone(&peer) as _,
        routed().await,
    );
    fanout
        .deliver(vec![entry(1), entry(3), entry(2), entry(3)])
        .await;
    assert_eq!(*sink.0.lock().unwrap(), 4);
    let handed = peer.parcels.lock().unwrap().clone();
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
    let broken: Arc<dyn DeviceRoute> = Arc::new(Broken::default());
    let listed = vec!["b", "c"];
    let cases = [
        (1, &routes, listed.clone()),
        (2, &routes, listed.clone()),
        (4, &routes, vec!["b", "c", "d"]),
        (9, &routes, listed.clone()),
        (1, &broken, listed),
    ];
    for (n, routes, asked) in cases {
        let (sink, peer) = (Arc::new(Count::default()), Arc::new(Neighbours::default()));
        let (local, others) = (Arc::clone(&sink), Arc::clone(&peer));
        let fanout = Fanout::new(node("here"), local, others, Arc::clone(routes));
        assert!(fanout.disconnect(user(n), Some(device(n)), "revoked").await);
        let mut closed = peer.closed.lock().unwrap().clone();
        closed.sort();
        assert_eq!(closed, asked);
        assert_eq!(*sink.0.lock().unwrap(), 100);
    }
}

/// Without the fence an unreachable node would go on serving the device, and register it again.
#[tokio::test]
async fn a_revocation_that_nobody_hears_makes_an_older_connection() {
    for one in [true, false] {
        for stranger in [false, true] {
            older_connection(one, stranger).await;
        }
    }
}

/// Revokes one device, or all devices of the user. With `stranger`, another user has signed in
/// under the device's id, and is the last user in the device's record.
async fn older_connection(one: bool, stranger: bool) {
    let (stores, at) = (memory::stores(), Timestamp(1));
    let held = Route {
        device: device(2),
        user: user(2),
        generation: Generation(1),
        node: node("b"),
        client: None,
    };
    assert!(stores.route.renew(&held.node).await.is_ok());
    let info = DeviceInfo {
        kind: 1,
        brand: String::new(),
        model: String::new(),
        system_version: String::new(),
        sdk_version: String::new(),
    };
    let known = stores.device.register(device(2), &info, at).await;
    known.unwrap();
    stores
        .device
        .raise(&[(device(2), user(2))], at)
        .await
        .unwrap();
    if stranger {
        let raised = stores.device.raise(&[(device(2), user(9))], at).await;
        assert!(raised.is_ok());
    }
    let raised = 2 + u64::from(stranger);
    stores.route.claim(&held).await.unwrap();
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
        let peer = Arc::new(Neighbours {
            deaf,
            ..Neighbours::default()
        });
        let (route, devices) = (Arc::clone(&stores.route), Arc::clone(&stores.device));
        let fanout = Fanout::new(
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
        let mut told = peer.told.lock().unwrap().clone();
        told.sort();
        let again = stores.route.claim(&held).await.unwrap();
        if deaf {
            assert_eq!(told, [("b".to_owned(), raised), ("c".to_owned(), raised)]);
            assert!(matches!(again, Claim::Superseded(_)), "{again:?}");
            assert!(stores.route.of(&[user(2)]).await.unwrap().is_empty());
        } else {
            assert!(told.is_empty() && matches!(again, Claim::Claimed(_)));
        }
    }
    // The next sign-in has a newer generation than the fence.
    let next = stores.device.raise(&[(device(2), user(2))], at).await;
    let generation = next.unwrap()[0];
    let next = stores.route.claim(&Route { generation, ..held }).await;
    assert!(matches!(next, Ok(Claim::Claimed(_))), "{next:?}");
}

/// The list of nodes may be slightly older than a route.
#[tokio::test]
async fn a_node_that_is_not_listed_yet_gets_the_parcels_of_its_routes() {
    #[derive(Debug, Default)]
    struct Unlisted(Neighbours);

    #[async_trait]
    impl Peer for Unlisted {
        async fn nodes(&self) -> Vec<NodeId> {
            Vec::new()
        }

        async fn deliver(&self, node: &NodeId, parcels: Vec<Parcel>) -> bool {
            self.0.deliver(node, parcels).await
        }

        async fn supersede(&self, _: &NodeId, _: UserId, _: DeviceId, _: Generation) {}

        async fn disconnect(&self, _: &NodeId, _: UserId, _: Option<DeviceId>, _: &str) -> bool {
            true
        }
    }

    let peer = Arc::new(Unlisted::default());
    let sink = Arc::new(Count::default());
    let fanout = Fanout::new(node("here"), sink, Arc::clone(&peer) as _, routed().await);
    fanout.deliver(vec![entry(1), entry(2)]).await;
    let handed = peer.0.parcels.lock().unwrap().clone();
    assert_eq!(handed, [("b".to_owned(), 1)]);
}

#[tokio::test]
async fn routes_are_read_once_a_batch_and_never_without_other_nodes() {
    let (sink, routes) = (Arc::new(Count::default()), Arc::new(Broken::default()));
    let fanout = |peer| {
        Fanout::new(
            node("here"),
            Arc::clone(&sink) as _,
            peer,
            Arc::clone(&routes) as _,
        )
    };
    let parcels = || vec![entry(1), entry(2)];
    fanout(Arc::new(Alone)).deliver(parcels()).await;
    assert_eq!(*routes.0.lock().unwrap(), 0);
    // Unreadable routes delay recipients on other nodes, and none here.
    let peer = Arc::new(Neighbours::default());
    fanout(Arc::clone(&peer) as _).deliver(parcels()).await;
    assert_eq!(*routes.0.lock().unwrap(), 1);
    assert!(peer.parcels.lock().unwrap().is_empty());
    assert_eq!(*sink.0.lock().unwrap(), 4);
}

/// D4: with the routes lost, no node was called.
#[tokio::test]
async fn d4_all_devices_of_a_user_are_closed_on_every_node_although_no_route_is_known() {
    let (sink, peer) = (Arc::new(Count::default()), Arc::new(Neighbours::default()));
    let (local, others) = (Arc::clone(&sink), Arc::clone(&peer));
    let lost: Arc<dyn DeviceRoute> = Arc::new(memory::MemoryRoute::default());
    let fanout = Fanout::new(node("here"), local, others, lost);
    assert!(fanout.disconnect(user(9), None, "banned").await);
    let mut closed = peer.closed.lock().unwrap().clone();
    closed.sort();
    assert_eq!(closed, ["b", "c"]);
    assert_eq!(*sink.0.lock().unwrap(), 100);
}

/// A revocation is confirmed only if it has taken effect.
#[tokio::test]
async fn a_revocation_that_may_be_without_effect_is_not_answered_as_done() {
    let peer = Arc::new(Neighbours {
        deaf: true,
        ..Neighbours::default()
    });
    let stores = memory::stores();
    let fanout = Fanout::new(
        node("here"),
        Arc::new(NoConnections),
        peer,
        Arc::clone(&stores.route),
    )
    .with_devices(Arc::clone(&stores.device));
    assert!(!fanout.disconnect(user(9), None, "banned").await);
    assert!(!fanout.disconnect(user(9), Some(device(9)), "banned").await);
}
