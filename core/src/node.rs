//! A whole node as one value: the connect and the logic role over a set of stores, without sockets.
//!
//! This is the inner of gimlet's two doors for embedding; `gimlet-server` puts sockets around it.

use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::business::Business;
use crate::gateway::{Gateway, SyncFromZero};
use crate::hub::Hub;
use crate::id::NodeId;
use crate::limits::Limits;
use crate::peer::{Alone, Peer};
use crate::service::{Parts, Policy, PushCodec, Service, SystemPush};
use crate::store::Stores;
use crate::time::{Clock, SystemClock};

/// gim's `MT_COMMAND`: the message type of system pushes.
const COMMAND: i32 = 7;

/// What a node is made of; everything but the stores and the business has a default.
#[derive(Clone, Debug)]
pub struct NodeBuilder {
    /// Where everything is kept.
    pub stores: Stores,
    /// Who may sign in, and who users are.
    pub business: Arc<dyn Business>,
    /// The bounds.
    pub limits: Limits,
    /// Says what time it is.
    pub clock: Arc<dyn Clock>,
    /// The other nodes; none by default.
    pub peer: Arc<dyn Peer>,
    /// How system pushes are encoded; by default they are described in text.
    pub codec: Arc<dyn PushCodec>,
    /// What the operator allows.
    pub policy: Policy,
    /// Where a device's first page starts.
    pub from_zero: SyncFromZero,
    /// This node's name and run.
    pub id: NodeId,
}

impl NodeBuilder {
    /// A node over these stores, alone.
    #[must_use]
    pub fn new(stores: Stores, business: Arc<dyn Business>) -> Self {
        Self {
            stores,
            business,
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
            peer: Arc::new(Alone),
            codec: Arc::new(TextPushes),
            policy: Policy::default(),
            from_zero: SyncFromZero::default(),
            id: NodeId::boot("local"),
        }
    }

    /// Starts the node's tasks; call it inside a tokio runtime.
    #[must_use]
    pub fn start(self) -> Node {
        let (tracker, token) = (TaskTracker::new(), CancellationToken::new());
        let hub = Arc::new(Hub::new(self.limits.zombies));
        let (room, route) = (
            Arc::clone(&self.stores.room),
            Arc::clone(&self.stores.route),
        );
        let parts = Parts {
            stores: self.stores,
            limits: self.limits.clone(),
            clock: self.clock,
            business: self.business,
            peer: Arc::clone(&self.peer),
            sink: Arc::clone(&hub) as _,
            node: self.id.clone(),
            policy: self.policy,
            codec: self.codec,
        };
        let service = Service::start(parts, &tracker, &token);
        let gateway = Gateway::start(
            self.id,
            hub,
            Arc::new(service.clone()),
            room,
            route,
            self.peer,
            self.limits,
            self.from_zero,
            &tracker,
            &token,
        );
        Node {
            service,
            gateway,
            tracker,
            token,
        }
    }
}

/// A running node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Node {
    service: Service,
    gateway: Gateway,
    tracker: TaskTracker,
    token: CancellationToken,
}

impl Node {
    /// The logic role: what a backend and the clients' gRPC calls ask.
    #[must_use]
    pub const fn service(&self) -> &Service {
        &self.service
    }

    /// The connect role: where connections sign in.
    #[must_use]
    pub const fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Ends the node: sends that wait are stored and answered, acks are written, the lease ends.
    /// Connections should have been dropped before.
    pub async fn stop(&self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Describes system pushes in text: for a node without a wire.
#[derive(Clone, Copy, Debug, Default)]
pub struct TextPushes;

impl PushCodec for TextPushes {
    fn encode(&self, push: &SystemPush) -> (i32, Bytes) {
        (COMMAND, Bytes::from(format!("{push:?}")))
    }
}
