//! A whole node as one value: the connect role and the logic role over a set of stores, without
//! sockets.
//!
//! This is the inner of gimlet's two entry points for embedding; `gimlet-server` adds the sockets.

use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::before_send::BeforeSendPolicy;
use crate::business::BusinessBackend;
use crate::events::EventSubscriptions;
use crate::gateway::{ConnectGateway, SyncFromZero};
use crate::hub::ConnectionHub;
use crate::id::NodeId;
use crate::limits::Limits;
use crate::peer::{PeerNodes, SingleNodePeer};
use crate::service::{LogicService, PushCodec, ServerPolicy, ServiceParts, SystemPush};
use crate::store::StoreSet;
use crate::time::{SystemClock, TimeSource};

/// gim's `MT_COMMAND`: the message type of system pushes.
const COMMAND_MESSAGE_KIND: i32 = 7;

/// Parts of a node; all but the stores and the business backend have defaults.
#[derive(Clone, Debug)]
pub struct NodeBuilder {
    /// The stores of all data.
    pub stores: StoreSet,
    /// The business backend: checks sign-ins and returns profiles.
    pub business: Arc<dyn BusinessBackend>,
    /// The limits.
    pub limits: Limits,
    /// The source of time.
    pub clock: Arc<dyn TimeSource>,
    /// The seam to other nodes; by default there are none.
    pub peer: Arc<dyn PeerNodes>,
    /// Encoder of system pushes; by default they are described in text.
    pub codec: Arc<dyn PushCodec>,
    /// The operator's rules.
    pub policy: ServerPolicy,
    /// The events that hooks want; by default there are no hooks.
    pub events: EventSubscriptions,
    /// Start of a device's first page.
    pub from_zero: SyncFromZero,
    /// The hook that decides about users' messages; by default there is none.
    pub before_send: Option<Arc<BeforeSendPolicy>>,
    /// This node's name and run.
    pub id: NodeId,
}

impl NodeBuilder {
    /// Makes a builder for a single node over these stores.
    #[must_use]
    pub fn new(stores: StoreSet, business: Arc<dyn BusinessBackend>) -> Self {
        Self {
            stores,
            business,
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
            peer: Arc::new(SingleNodePeer),
            codec: Arc::new(TextPushCodec),
            policy: ServerPolicy::default(),
            events: EventSubscriptions::default(),
            from_zero: SyncFromZero::default(),
            before_send: None,
            id: NodeId::boot("local"),
        }
    }

    /// Starts the node's tasks; call it inside a tokio runtime.
    #[must_use]
    pub fn start(self) -> RunningNode {
        let (tracker, token) = (TaskTracker::new(), CancellationToken::new());
        let hub = Arc::new(ConnectionHub::new(self.limits.zombies));
        let (room, route) = (
            Arc::clone(&self.stores.room),
            Arc::clone(&self.stores.route),
        );
        let parts = ServiceParts {
            stores: self.stores,
            limits: self.limits.clone(),
            clock: self.clock,
            business: self.business,
            peer: Arc::clone(&self.peer),
            sink: Arc::clone(&hub) as _,
            node: self.id.clone(),
            policy: self.policy,
            codec: self.codec,
            events: self.events,
            before_send: self.before_send,
        };
        let service = LogicService::start(parts, &tracker, &token);
        let gateway = ConnectGateway::start(
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
        RunningNode {
            service,
            gateway,
            tracker,
            token,
        }
    }
}

/// A running node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RunningNode {
    service: LogicService,
    gateway: ConnectGateway,
    tracker: TaskTracker,
    token: CancellationToken,
}

impl RunningNode {
    /// Returns the logic role, which serves a backend and the clients' gRPC calls.
    #[must_use]
    pub const fn service(&self) -> &LogicService {
        &self.service
    }

    /// Returns the connect role, at which connections sign in.
    #[must_use]
    pub const fn gateway(&self) -> &ConnectGateway {
        &self.gateway
    }

    /// Stops the node: waiting sends are stored and answered, acks are written, and the lease ends.
    /// Connections should be dropped before.
    pub async fn stop(&self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Encodes system pushes as text, for a node without a wire.
#[derive(Clone, Copy, Debug, Default)]
pub struct TextPushCodec;

impl PushCodec for TextPushCodec {
    fn encode(&self, push: &SystemPush) -> (i32, Bytes) {
        (COMMAND_MESSAGE_KIND, Bytes::from(format!("{push:?}")))
    }
}
