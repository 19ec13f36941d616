//! The roles of this process, built from core: with a direct call where two roles are in this
//! process, and with the cluster's clients where one is in another process.

use std::sync::Arc;
use std::time::Duration;

use gimlet_core::business::{BuiltinBusiness, BusinessBackend};
use gimlet_core::fanout::{MessageFanout, NoConnections};
use gimlet_core::gateway::ConnectGateway;
use gimlet_core::hub::ConnectionHub;
use gimlet_core::id::NodeId;
use gimlet_core::logic::LogicRole;
use gimlet_core::node::{NodeBuilder, RunningNode};
use gimlet_core::peer::{PeerNodes, SingleNodePeer};
use gimlet_core::service::{self, LogicService};
use gimlet_core::store::DeviceRoute;
use gimlet_core::time::TimeSource;
use gimlet_core::{gateway, limits};
use gimlet_transport::WirePushCodec;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::StartError;
use crate::cluster::{
    ClusterId, ConnectServer, LogicServer, NodeCredentials, NodeTls, RemoteBusiness, RemoteLogic,
    RemotePeer,
};
use crate::config::{
    Config, DirectPolicy, GroupAdd, NodeRole, RoomPush, StorageKind, SyncFromZero,
};
use crate::storage::OpenedStorage;

/// Time after which the other nodes have found a new connect node. It compares all heads then,
/// because earlier pushes did not reach it.
const DISCOVERY_TIME: Duration = Duration::from_secs(3);

/// The roles of this process, running. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RunningRoles {
    /// The logic role.
    pub(crate) service: Option<LogicService>,
    /// The connect role.
    pub(crate) gateway: Option<ConnectGateway>,
    /// The logic role, local or remote; for the connect role.
    pub(crate) logic: Option<Arc<dyn LogicRole>>,
    /// The built-in business service.
    pub(crate) builtin: Option<BuiltinBusiness>,
    /// The business role, local or remote; for the logic role, and to check clients' tokens.
    pub(crate) business: Option<Arc<dyn BusinessBackend>>,
    /// Fan-out to connections; for the logic and the business role.
    pub(crate) fanout: Option<MessageFanout>,
    /// Connect and logic together.
    pub(crate) node: Option<RunningNode>,
    id: NodeId,
    cluster_id: ClusterId,
    peer: Option<RemotePeer>,
    remote: Option<Arc<RemoteLogic>>,
    remote_business: Option<Arc<RemoteBusiness>>,
    /// Tasks of core, unless `node` runs them.
    core: RoleTasks,
    /// Tasks that reach other nodes; they end after the tasks that use them.
    cluster: RoleTasks,
}

#[derive(Clone, Debug, Default)]
struct RoleTasks {
    tracker: TaskTracker,
    token: CancellationToken,
}

impl RoleTasks {
    async fn stop(&self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl RunningRoles {
    /// Starts the configured roles over this storage. `internal` is the address at which this
    /// process listens for other nodes; `builtin` is set if it has the business role, `tls` if
    /// nodes are called by TLS.
    pub(crate) fn start(
        config: &Config,
        storage: &OpenedStorage,
        builtin: Option<BuiltinBusiness>,
        internal: Option<String>,
        tls: Option<NodeTls>,
        clock: Arc<dyn TimeSource>,
    ) -> Result<Self, StartError> {
        let has = |role| config.roles.has(role);
        let cluster = RoleTasks::default();
        let secret = config.cluster.secret.as_ref();
        let caller = NodeCredentials::new(secret, storage.cluster.clone())
            .map_err(|what| StartError::Cluster(format!("cluster.secret: {what}")))?
            .with_tls(tls);
        let address = |error: tonic::transport::Error| StartError::Cluster(error.to_string());

        let alone = config.storage.kind != StorageKind::Mysql;
        let name = config.cluster.advertise.clone().or(internal);
        let id = NodeId::boot(name.filter(|_| !alone).unwrap_or_else(|| "local".into()));
        let route = Arc::clone(&storage.route);
        let remote_peer = (!alone).then(|| {
            let route = Arc::clone(&route);
            RemotePeer::start(
                id.clone(),
                route,
                caller.clone(),
                &cluster.tracker,
                &cluster.token,
            )
        });
        let peer: Arc<dyn PeerNodes> = match &remote_peer {
            Some(peer) => Arc::new(peer.clone()),
            None => Arc::new(SingleNodePeer),
        };
        let remote_business = if builtin.is_none() && has(NodeRole::Logic) {
            let remote = RemoteBusiness::new(&config.cluster.business, &caller);
            Some(Arc::new(remote.map_err(address)?))
        } else {
            None
        };
        let business: Option<Arc<dyn BusinessBackend>> = match (&builtin, &remote_business) {
            (Some(builtin), _) => Some(Arc::new(builtin.clone())),
            (None, Some(remote)) => Some(Arc::clone(remote) as _),
            (None, None) => None,
        };
        let mut roles = Self {
            service: None,
            gateway: None,
            logic: None,
            builtin,
            business,
            fanout: None,
            node: None,
            id,
            cluster_id: storage.cluster.clone(),
            peer: remote_peer,
            remote: None,
            remote_business,
            core: RoleTasks::default(),
            cluster,
        };
        match (has(NodeRole::Connect), has(NodeRole::Logic)) {
            (true, true) => roles.start_node(config, storage, peer, clock),
            (false, true) => roles.start_logic(config, storage, peer, clock),
            (true, false) => {
                let remote = RemoteLogic::start(
                    &config.cluster.logic,
                    &caller,
                    config.limits.node.send_deadline,
                    &roles.cluster.tracker,
                    &roles.cluster.token,
                );
                roles.start_connect(config, storage, peer, remote.map_err(address)?);
            }
            (false, false) => {}
        }
        if roles.fanout.is_none() && has(NodeRole::Business) {
            let fanout = roles.business_fanout(route);
            let stores = storage.stores.as_ref();
            let devices = stores.map(|stores| Arc::clone(&stores.device));
            roles.fanout = Some(match devices {
                Some(devices) => fanout.with_devices(devices),
                None => fanout,
            });
        }
        Ok(roles)
    }

    fn start_node(
        &mut self,
        config: &Config,
        storage: &OpenedStorage,
        peer: Arc<dyn PeerNodes>,
        clock: Arc<dyn TimeSource>,
    ) {
        let (Some(stores), Some(business)) = (storage.stores.clone(), self.business.clone()) else {
            return;
        };
        let mut node = NodeBuilder::new(stores, business);
        node.limits = config.limits.node.clone();
        node.clock = clock;
        node.peer = peer;
        node.codec = Arc::new(WirePushCodec);
        node.policy = policy(config);
        node.from_zero = from_zero(config);
        node.id = self.id.clone();
        let node = node.start();
        self.service = Some(node.service().clone());
        self.gateway = Some(node.gateway().clone());
        self.logic = Some(Arc::new(node.service().clone()));
        self.fanout = Some(node.service().fanout().clone());
        self.node = Some(node);
        self.compare_when_found();
    }

    fn start_logic(
        &mut self,
        config: &Config,
        storage: &OpenedStorage,
        peer: Arc<dyn PeerNodes>,
        clock: Arc<dyn TimeSource>,
    ) {
        let (Some(stores), Some(business)) = (storage.stores.clone(), self.business.clone()) else {
            return;
        };
        let parts = service::ServiceParts {
            stores,
            limits: config.limits.node.clone(),
            clock,
            business,
            peer,
            sink: Arc::new(NoConnections),
            node: self.id.clone(),
            policy: policy(config),
            codec: Arc::new(WirePushCodec),
        };
        let service = LogicService::start(parts, &self.core.tracker, &self.core.token);
        self.fanout = Some(service.fanout().clone());
        self.logic = Some(Arc::new(service.clone()));
        self.service = Some(service);
    }

    fn start_connect(
        &mut self,
        config: &Config,
        storage: &OpenedStorage,
        peer: Arc<dyn PeerNodes>,
        remote: RemoteLogic,
    ) {
        let remote = Arc::new(remote);
        let logic: Arc<dyn LogicRole> = Arc::clone(&remote) as _;
        let limits: limits::Limits = config.limits.node.clone();
        let gateway = ConnectGateway::start(
            self.id.clone(),
            Arc::new(ConnectionHub::new(limits.zombies)),
            Arc::clone(&logic),
            Arc::clone(&storage.room),
            Arc::clone(&storage.route),
            peer,
            limits,
            from_zero(config),
            &self.core.tracker,
            &self.core.token,
        );
        self.gateway = Some(gateway);
        self.logic = Some(logic);
        self.remote = Some(remote);
        self.compare_when_found();
    }

    /// Makes the fan-out of a business role without the logic role, which closes connections itself
    /// (`SignOut`).
    fn business_fanout(&self, route: Arc<dyn DeviceRoute>) -> MessageFanout {
        let peer: Arc<dyn PeerNodes> = match &self.peer {
            Some(peer) => Arc::new(peer.clone()),
            None => Arc::new(SingleNodePeer),
        };
        match &self.gateway {
            Some(gateway) => {
                let hub = Arc::clone(gateway.hub());
                MessageFanout::new(self.id.clone(), hub, peer, route)
            }
            None => MessageFanout::new(self.id.clone(), Arc::new(NoConnections), peer, route),
        }
    }

    fn compare_when_found(&self) {
        let (Some(gateway), Some(_)) = (self.gateway.clone(), &self.peer) else {
            return;
        };
        let token = self.cluster.token.clone();
        self.cluster.tracker.spawn(async move {
            if tokio::time::timeout(DISCOVERY_TIME, token.cancelled())
                .await
                .is_err()
            {
                gateway.check_all();
            }
        });
    }

    /// Returns the service that other nodes call for the logic role.
    pub(crate) fn logic_server(&self, stop: &CancellationToken) -> Option<LogicServer> {
        let service = self.service.clone()?;
        let tasks = self.cluster.tracker.clone();
        Some(LogicServer::new(
            Arc::new(service),
            self.cluster_id.clone(),
            tasks,
            stop.clone(),
        ))
    }

    /// Returns the service that other nodes call for the connect role.
    pub(crate) fn connect_server(&self, stop: &CancellationToken) -> Option<ConnectServer> {
        let gateway = self.gateway.clone()?;
        let tasks = self.cluster.tracker.clone();
        Some(ConnectServer::new(
            gateway,
            self.id.clone(),
            self.cluster_id.clone(),
            tasks,
            stop.clone(),
        ))
    }

    /// Waits until everything that this process cannot serve without is reached: for a connect
    /// role, a logic node.
    pub(crate) async fn reached(&self) {
        /// Interval of the warning while no logic node is reached.
        const WARN_INTERVAL: Duration = Duration::from_secs(5);
        if let Some(remote) = &self.remote {
            while !remote.reached(WARN_INTERVAL).await {
                gimlet_core::warn_rated!(
                    "no logic node is reached; this node is not ready until one is"
                );
            }
        }
    }

    /// Waits until something that this process cannot serve without is no longer reached.
    pub(crate) async fn lost(&self) {
        match &self.remote {
            Some(remote) => remote.lost().await,
            None => std::future::pending().await,
        }
    }

    /// Returns the number of calls that a remote business role did not answer.
    pub(crate) fn business_failures(&self) -> Option<u64> {
        Some(self.remote_business.as_ref()?.failures())
    }

    /// Returns the number of signed-in connections.
    pub(crate) fn connections(&self) -> usize {
        self.gateway
            .as_ref()
            .map_or(0, |gateway| gateway.hub().connections())
    }

    /// Returns the number of other connect nodes that are known.
    pub(crate) fn nodes(&self) -> usize {
        self.peer.as_ref().map_or(0, RemotePeer::known)
    }

    /// Returns the number of dropped delivery batches for other nodes.
    pub(crate) fn dropped(&self) -> u64 {
        self.peer.as_ref().map_or(0, RemotePeer::dropped)
    }

    /// Closes every connection and asks each client to come back after a random time up to
    /// `spread`.
    pub(crate) fn close_all(&self, spread: Duration) {
        if let Some(gateway) = &self.gateway {
            gateway.close_all(spread);
        }
    }

    /// Stops the roles: queued sends are stored and answered, acks are written, the lease ends.
    /// Then the tasks that reach other nodes end, because the roles use them until the end.
    pub(crate) async fn stop(&self) {
        // First core, then the cluster: the last sends, acks and pushes still need the other nodes.
        if let Some(node) = &self.node {
            node.stop().await;
        }
        self.core.stop().await;
        self.cluster.stop().await;
    }
}

fn policy(config: &Config) -> service::ServerPolicy {
    service::ServerPolicy {
        direct: match config.policy.direct {
            DirectPolicy::Anyone => service::DirectSend::Anyone,
            DirectPolicy::Friends => service::DirectSend::Friends,
        },
        group_add: match config.policy.group_add {
            GroupAdd::Anyone => service::GroupAdd::Anyone,
            GroupAdd::Friends => service::GroupAdd::Friends,
        },
        room: match config.policy.room {
            RoomPush::Anyone => service::RoomPush::Anyone,
            RoomPush::Business => service::RoomPush::Business,
        },
    }
}

const fn from_zero(config: &Config) -> gateway::SyncFromZero {
    match config.policy.sync_from_zero {
        SyncFromZero::All => gateway::SyncFromZero::All,
        SyncFromZero::DeviceAck => gateway::SyncFromZero::DeviceAck,
        SyncFromZero::UserAck => gateway::SyncFromZero::UserAck,
    }
}
