//! Pushes, takeovers and disconnects through another connect node.

use std::future::poll_fn;
use std::time::Duration;

use gimlet_core::delivery::ConnectionDelivery;
use gimlet_core::gateway::{ClientConnection, SignInRequest};
use gimlet_core::hub::{CloseReason, ConnectionWork};
use gimlet_core::id::{Generation, NodeId};
use gimlet_core::memory;
use gimlet_core::message::MessageDraft;
use gimlet_core::peer::PeerNodes as _;
use gimlet_core::seq::Seq;
use tokio::time::{Instant, timeout};

use super::*;
use crate::RemotePeer;

const SOON: Duration = Duration::from_secs(10);

/// Two whole nodes over the same stores, each the other's peer by gRPC.
struct NodePair {
    nodes: [RunningNode; 2],
    ids: [NodeId; 2],
    peers: [RemotePeer; 2],
    served: Vec<TestGrpcServer>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Serves `ConnectNode` of this node, at the address that is its name.
async fn serve(node: &RunningNode, id: &NodeId) -> TestGrpcServer {
    let (gateway, id) = (node.gateway().clone(), id.clone());
    TestGrpcServer::at(id.name.parse().unwrap(), |tasks, stop| {
        let server = ConnectServer::new(
            gateway,
            id.clone(),
            ClusterId::default(),
            tasks.clone(),
            stop.clone(),
        );
        Routes::new(ConnectNodeServer::new(server))
    })
    .await
}

impl NodePair {
    async fn start() -> Self {
        let stores = memory::stores();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let mut built = Vec::new();
        for _ in 0..2 {
            // The address is the name, so it comes first.
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            drop(listener);
            let id = NodeId::boot(addr.to_string());
            let route = Arc::clone(&stores.route);
            let peer = RemotePeer::start(id.clone(), route, caller(), &tasks, &stop);
            let mut builder = NodeBuilder::new(stores.clone(), Arc::new(OpenBusiness));
            (builder.peer, builder.id) = (Arc::new(peer.clone()), id.clone());
            let node = builder.start();
            let served = serve(&node, &id).await;
            built.push((node, id, peer, served));
        }
        let [one, two] = <[_; 2]>::try_from(built).ok().unwrap();
        let pair = Self {
            nodes: [one.0, two.0],
            ids: [one.1, two.1],
            peers: [one.2, two.2],
            served: vec![one.3, two.3],
            tasks,
            stop,
        };
        for at in 0..2 {
            while pair.peers[at].nodes().await != [pair.ids[1 - at].clone()] {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        pair
    }

    async fn sign_in(&self, at: usize, who: u64, on: u64) -> ClientConnection {
        let request = SignInRequest {
            user: user(who),
            device: device(on),
            token: "any".into(),
            client: None,
            protocol: 1,
            legacy: false,
            echo: false,
            resume_after: Seq::ZERO,
        };
        let connection = self.nodes[at].gateway().sign_in(request).await.unwrap();
        let page = connection.sync(Seq::ZERO).await.unwrap();
        connection.synced(Seq::ZERO, page.upto, page.more);
        connection
    }

    async fn end(self) {
        for node in &self.nodes {
            node.stop().await;
        }
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        for served in self.served {
            served.stop().await;
        }
    }
}

async fn work(connection: &ClientConnection) -> ConnectionWork {
    let next = poll_fn(|cx| connection.poll_work(cx, Instant::now()));
    timeout(SOON, next).await.expect("it comes")
}

async fn pushed(connection: &ClientConnection, n: usize) -> Vec<u64> {
    let mut got = Vec::new();
    while got.len() < n {
        let ConnectionWork::Deliver(batch) = work(connection).await else {
            panic!("pushes, no reads: they came by the stream");
        };
        got.extend(
            batch
                .iter()
                .flat_map(ConnectionDelivery::seqs)
                .map(Seq::get),
        );
    }
    got
}

#[tokio::test]
async fn what_is_sent_here_is_pushed_there_in_order() {
    let pair = NodePair::start().await;
    let bob = pair.sign_in(1, 2, 20).await;
    for n in 1..=300 {
        let mut draft = MessageDraft::text(user(2), "x");
        draft.client_id = Some(format!("{n}"));
        let sender = MessageSender::User {
            user: user(1 + n % 7 * 3),
            device: None,
        };
        pair.nodes[0].service().send(sender, draft).await.unwrap();
    }
    assert_eq!(pushed(&bob, 300).await, (1..=300).collect::<Vec<_>>());
    assert_eq!(pair.peers[0].dropped(), 0);
    drop(bob);
    pair.end().await;
}

#[tokio::test]
async fn a_device_that_signs_in_there_is_superseded_here() {
    let pair = NodePair::start().await;
    let old = pair.sign_in(0, 1, 10).await;
    let new = pair.sign_in(1, 1, 10).await;
    assert!(
        old.handle().is_superseded(),
        "before the newer sign-in is answered"
    );
    assert!(matches!(
        work(&old).await,
        ConnectionWork::Close(CloseReason::Superseded)
    ));
    drop(old);
    pair.nodes[0]
        .service()
        .send(phone(2), MessageDraft::text(user(1), "x"))
        .await
        .unwrap();
    assert_eq!(pushed(&new, 1).await, [1]);
    pair.nodes[0]
        .service()
        .disconnect(user(1), Some(device(10)), "revoked")
        .await
        .unwrap();
    let ConnectionWork::Close(CloseReason::Disconnected(why)) = work(&new).await else {
        panic!("it is closed");
    };
    assert_eq!(why, "revoked");
    drop(new);
    pair.end().await;
}

#[tokio::test]
async fn an_unacknowledged_takeover_is_sent_again() {
    let mut pair = NodePair::start().await;
    let old = pair.sign_in(0, 1, 10).await;
    pair.served.remove(0).stop().await;
    let new = pair.sign_in(1, 1, 10).await;
    assert!(!old.handle().is_superseded(), "nobody could tell it");
    // Until it has acknowledged the takeover, it gets no pushes, which the older connection could
    // get.
    assert!(!pair.peers[1].deliver(&pair.ids[0], Vec::new()).await);
    let again = serve(&pair.nodes[0], &pair.ids[0]).await;
    pair.served.insert(0, again);
    assert!(matches!(
        work(&old).await,
        ConnectionWork::Close(CloseReason::Superseded)
    ));
    drop((old, new));
    pair.end().await;
}

#[tokio::test]
async fn a_node_that_is_gone_costs_nothing_but_a_count() {
    let mut pair = NodePair::start().await;
    let bob = pair.sign_in(1, 2, 20).await;
    pair.served.pop().unwrap().stop().await;
    // Its lease is still valid: pushes to it are dropped, sends are answered.
    let mut n = 0;
    while pair.peers[0].dropped() == 0 {
        n += 1;
        let mut draft = MessageDraft::text(user(2), "x");
        draft.client_id = Some(format!("{n}"));
        pair.nodes[0].service().send(phone(1), draft).await.unwrap();
    }
    assert!(!pair.peers[0].deliver(&pair.ids[1], Vec::new()).await || n > 0);
    drop(bob);
    pair.end().await;
}

#[tokio::test]
async fn an_earlier_run_of_a_node_gets_nothing() {
    let pair = NodePair::start().await;
    let ghost = NodeId::boot(pair.ids[1].name.clone());
    let alive = &pair.peers[0];
    let everyone = || {
        let message = gimlet_core::message::Message {
            id: gimlet_core::id::MessageId::generate(),
            sender: MessageSender::Business,
            receiver: gimlet_core::message::MessageReceiver::Everyone,
            mentions: Vec::new(),
            kind: 1,
            content: gimlet_core::message::MessageContent::default(),
            sent_at: gimlet_core::time::UnixTimestamp(0),
            unknown: gimlet_core::message::UnknownFields::NONE,
        };
        gimlet_core::delivery::DeliveryBatch::Everyone {
            envelope: Arc::new(gimlet_core::envelope::Envelope::new(
                Arc::new(message),
                Arc::default(),
                0,
            )),
        }
    };
    // Accepted while the stream is opened, then refused.
    while alive.deliver(&ghost, vec![everyone()]).await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(pair.nodes[1].gateway().hub().pushed(), 0);
    pair.end().await;
}

/// D4: `Disconnect(user, 0)` read the routes, and these were lost.
#[tokio::test]
async fn d4_all_devices_of_a_user_are_closed_on_the_other_node() {
    let pair = NodePair::start().await;
    let phone = pair.sign_in(1, 1, 10).await;
    let tablet = pair.sign_in(1, 1, 11).await;
    let gone = pair.sign_in(1, 2, 20).await;
    for (device, generation) in [(10, 1), (11, 1)] {
        let (device, generation) = (super::device(device), Generation(generation));
        let stores = pair.nodes[0].service().stores();
        stores
            .route
            .release(user(1), device, generation)
            .await
            .unwrap();
    }
    let service = pair.nodes[0].service();
    service.disconnect(user(1), None, "banned").await.unwrap();
    for closed in [phone, tablet] {
        let ConnectionWork::Close(CloseReason::Disconnected(why)) = work(&closed).await else {
            panic!("it is closed");
        };
        assert_eq!(why, "banned");
    }
    assert!(!gone.handle().is_superseded(), "another user's");
    drop(gone);
    pair.end().await;
}
