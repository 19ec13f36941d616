//! The roles of this process, built from core: with a direct call where two roles are in this
//! process, and with the cluster's clients where one is in another process.
//!
//! [`RoleTopology`] has one variant for each combination of roles that exists. A role whose parts are
//! missing is an error at start, so a running process has every role that it was configured to
//! have.

mod api_nodes;
mod hooks;
mod start;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use gimlet_cluster::{
    ApiServer, ClusterId, ConnectServer, LogicServer, NodeCredentials, NodeTls, RemoteLogic,
    RemotePeer,
};
use gimlet_core::business::{BuiltinBusiness, BusinessBackend};
use gimlet_core::fanout::MessageFanout;
use gimlet_core::gateway::ConnectGateway;
use gimlet_core::hook_delivery::HookDelivery;
use gimlet_core::id::NodeId;
use gimlet_core::node::RunningNode;
use gimlet_core::peer::{PeerNodes, SingleNodePeer};
use gimlet_core::service::LogicService;
use gimlet_core::time::TimeSource;
use gimlet_web::api::{ApiNodes, HttpApi};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, NodeRole, StorageKind};
use crate::identity::IdentityParts;
use crate::secret::SecretString;
use crate::start_error::StartError;
use crate::storage::OpenedStorage;
use api_nodes::{LocalApi, RemoteRoles};
use hooks::{ConfiguredHooks, ProviderCounters};
use start::RoleStarter;
use topology::{BusinessPlace, RoleTasks, RoleTopology};

/// Time after which the other nodes have found a new connect node. It compares all heads then,
/// because earlier pushes did not reach it.
const DISCOVERY_TIME: Duration = Duration::from_secs(3);

/// The roles of this process, running. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RunningRoles {
    topology: RoleTopology,
    /// JWTs, which come in front of the business role.
    identity: IdentityParts,
    id: NodeId,
    cluster_id: ClusterId,
    peer: Option<RemotePeer>,
    api_nodes: Arc<RemoteRoles>,
    /// Deliveries of hooks, if the logic role is in this process.
    delivery: Option<HookDelivery>,
    /// Counters of the push services, if the logic role is in this process.
    push: Vec<ProviderCounters>,
    /// Tasks of these deliveries.
    hooks: RoleTasks,
    /// Tasks of core, unless a node runs them.
    core: RoleTasks,
    /// Tasks that reach other nodes; they end after the tasks that use them.
    cluster: RoleTasks,
}

impl RunningRoles {
    /// Starts the configured roles over this storage. `internal` is the address at which this
    /// process listens for other nodes; `builtin` is the business role, `tls` is set if nodes are
    /// called by TLS.
    ///
    /// # Errors
    /// A configured role lacks something that it cannot start without.
    pub(crate) fn start(
        config: &Config,
        storage: &OpenedStorage,
        builtin: Option<BuiltinBusiness>,
        internal: Option<String>,
        tls: Option<NodeTls>,
        clock: Arc<dyn TimeSource>,
        identity: IdentityParts,
    ) -> Result<Self, StartError> {
        let cluster = RoleTasks::default();
        let secret = config.cluster.secret.as_ref().map(SecretString::reveal);
        let credentials = NodeCredentials::new(secret, storage.cluster.clone())
            .map_err(|what| StartError::Cluster(format!("cluster.secret: {what}")))?
            .with_tls(tls);
        let alone = config.storage.kind != StorageKind::Mysql;
        let name = config.cluster.advertise.clone().or(internal);
        let id = NodeId::boot(name.filter(|_| !alone).unwrap_or_else(|| "local".into()));
        let remote_peer = (!alone).then(|| {
            RemotePeer::start(
                id.clone(),
                Arc::clone(&storage.route),
                credentials.clone(),
                &cluster.tracker,
                &cluster.token,
            )
        });
        let api_nodes = RemoteRoles::new(config, &id, remote_peer.clone(), &credentials)
            .map_err(|error| StartError::Cluster(error.to_string()));
        // Tasks that have started by then must not outlive the error.
        let api_nodes = api_nodes.inspect_err(|_| cluster.token.cancel())?;
        let peer: Arc<dyn PeerNodes> = match &remote_peer {
            Some(peer) => Arc::new(peer.clone()),
            None => Arc::new(SingleNodePeer),
        };
        let hooks = if config.roles.has(NodeRole::Logic) {
            let tokens = storage.stores.as_ref().map(|stores| &stores.push_token);
            ConfiguredHooks::open(config, tokens, &clock)?
        } else {
            ConfiguredHooks::default()
        };
        let starter = RoleStarter {
            config,
            storage,
            clock: Arc::clone(&clock),
            events: hooks.events.clone(),
            before_send: hooks.before_send.clone(),
            id,
            peer,
            credentials,
            identity,
            core: RoleTasks::default(),
            cluster,
        };
        let topology = starter.topology(builtin);
        // Roles that have started by then must not outlive the error.
        let topology = topology.inspect_err(|_| starter.cancel())?;
        let mut roles = Self {
            topology,
            delivery: None,
            push: hooks.push.clone(),
            hooks: RoleTasks::default(),
            identity: starter.identity,
            id: starter.id,
            cluster_id: storage.cluster.clone(),
            peer: remote_peer,
            api_nodes: Arc::new(api_nodes),
            core: starter.core,
            cluster: starter.cluster,
        };
        roles.delivery = roles.service().map(|service| {
            let (node, tasks) = (roles.id.clone(), &roles.hooks);
            hooks.start(service, node, clock, &tasks.tracker, &tasks.token)
        });
        roles.compare_when_found();
        Ok(roles)
    }

    fn compare_when_found(&self) {
        let (Some(gateway), Some(_)) = (self.gateway().cloned(), &self.peer) else {
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

    /// Returns connect and logic together, if both are in this process.
    pub(crate) const fn node(&self) -> Option<&RunningNode> {
        match &self.topology {
            RoleTopology::Node { node, .. } => Some(node),
            RoleTopology::Logic { .. }
            | RoleTopology::Connect { .. }
            | RoleTopology::Business(_) => None,
        }
    }

    /// Returns the logic role, if it is in this process.
    pub(crate) const fn service(&self) -> Option<&LogicService> {
        match &self.topology {
            RoleTopology::Node { node, .. } => Some(node.service()),
            RoleTopology::Logic { service, .. } => Some(service),
            RoleTopology::Connect { .. } | RoleTopology::Business(_) => None,
        }
    }

    /// Returns the deliveries of hooks, if the logic role is in this process.
    pub(crate) const fn hook_delivery(&self) -> Option<&HookDelivery> {
        self.delivery.as_ref()
    }

    /// Returns the counters of the push services; none without the logic role.
    pub(crate) fn push_counters(&self) -> &[ProviderCounters] {
        &self.push
    }

    /// Returns the connect role, if it is in this process.
    pub(crate) const fn gateway(&self) -> Option<&ConnectGateway> {
        match &self.topology {
            RoleTopology::Node { node, .. } => Some(node.gateway()),
            RoleTopology::Connect { gateway, .. } => Some(gateway),
            RoleTopology::Logic { .. } | RoleTopology::Business(_) => None,
        }
    }

    /// Returns the built-in business service, if this process has the business role.
    pub(crate) const fn builtin(&self) -> Option<&BuiltinBusiness> {
        match &self.topology {
            RoleTopology::Node { business, .. } | RoleTopology::Logic { business, .. } => {
                business.builtin()
            }
            RoleTopology::Connect { business, .. } => match business {
                Some(business) => Some(&business.builtin),
                None => None,
            },
            RoleTopology::Business(business) => Some(&business.builtin),
        }
    }

    /// Returns the business role that checks clients' tokens, here or in other processes. A connect
    /// role alone has none: its logic role asks.
    pub(crate) fn business(&self) -> Option<Arc<dyn BusinessBackend>> {
        let backend = match &self.topology {
            RoleTopology::Node { business, .. } | RoleTopology::Logic { business, .. } => {
                business.backend()
            }
            RoleTopology::Connect { .. } | RoleTopology::Business(_) => {
                Arc::new(self.builtin()?.clone())
            }
        };
        Some(self.identity.in_front_of(backend))
    }

    /// Returns the fan-out by which the business role closes connections.
    pub(crate) fn fanout(&self) -> Option<&MessageFanout> {
        match &self.topology {
            RoleTopology::Node { node, .. } => Some(node.service().fanout()),
            RoleTopology::Logic { service, .. } => Some(service.fanout()),
            RoleTopology::Connect { business, .. } => business.as_ref().map(|it| &it.fanout),
            RoleTopology::Business(business) => Some(&business.fanout),
        }
    }

    const fn remote_logic(&self) -> Option<&Arc<RemoteLogic>> {
        match &self.topology {
            RoleTopology::Connect { logic, .. } => Some(logic),
            RoleTopology::Node { .. } | RoleTopology::Logic { .. } | RoleTopology::Business(_) => {
                None
            }
        }
    }

    /// Returns the service that other nodes call for the logic role.
    pub(crate) fn logic_server(&self, stop: &CancellationToken) -> Option<LogicServer> {
        let service = self.service()?.clone();
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
        let gateway = self.gateway()?.clone();
        let tasks = self.cluster.tracker.clone();
        Some(ConnectServer::new(
            gateway,
            self.id.clone(),
            self.cluster_id.clone(),
            tasks,
            stop.clone(),
        ))
    }

    /// Returns the nodes that answer requests of the HTTP API for which this process lacks the role.
    pub(crate) fn api_nodes(&self) -> Arc<dyn ApiNodes> {
        Arc::clone(&self.api_nodes) as _
    }

    /// Returns the service that other nodes call for requests of the HTTP API.
    pub(crate) fn api_server(&self, api: HttpApi) -> ApiServer {
        let handler = LocalApi(gimlet_web::api::forwarded(api));
        ApiServer::new(Arc::new(handler), self.cluster_id.clone())
    }

    /// Waits until everything that this process cannot serve without is reached: for a connect
    /// role, a logic node.
    pub(crate) async fn reached(&self) {
        /// Interval of the warning while no logic node is reached.
        const WARN_INTERVAL: Duration = Duration::from_secs(5);
        if let Some(logic) = self.remote_logic() {
            while !logic.reached(WARN_INTERVAL).await {
                gimlet_core::warn_rated!(
                    "no logic node is reached; this node is not ready until one is"
                );
            }
        }
    }

    /// Waits until something that this process cannot serve without is no longer reached.
    pub(crate) async fn lost(&self) {
        match self.remote_logic() {
            Some(logic) => logic.lost().await,
            None => std::future::pending().await,
        }
    }

    /// Returns the number of calls that a remote business role did not answer.
    pub(crate) fn business_failures(&self) -> Option<u64> {
        match &self.topology {
            RoleTopology::Node { business, .. } | RoleTopology::Logic { business, .. } => {
                match business {
                    BusinessPlace::Elsewhere(remote) => Some(remote.failures()),
                    BusinessPlace::OverHttp(remote) => Some(remote.failures()),
                    BusinessPlace::Here(_) => None,
                }
            }
            RoleTopology::Connect { .. } | RoleTopology::Business(_) => None,
        }
    }

    /// Returns the number of signed-in connections.
    pub(crate) fn connections(&self) -> usize {
        self.gateway()
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

    /// Closes every connection and asks each client to reconnect after a random time up to
    /// `spread`.
    pub(crate) fn close_all(&self, spread: Duration) {
        if let Some(gateway) = self.gateway() {
            gateway.close_all(spread);
        }
    }

    /// Stops the roles: queued sends are stored and answered, acks are written, the lease ends.
    /// Then the tasks that reach other nodes end, because the roles use them until the end.
    pub(crate) async fn stop(&self) {
        // Deliveries of hooks end meanwhile: their events are stored, and another node or the next
        // start continues.
        self.hooks.token.cancel();
        // First core, then the cluster: the last sends, acks and pushes still need the other nodes.
        if let Some(node) = self.node() {
            node.stop().await;
        }
        self.core.stop().await;
        self.hooks.stop().await;
        self.cluster.stop().await;
    }
}

#[cfg(test)]
mod tests {
    use gimlet_core::business::{BuiltinConfig, FixedCode};
    use gimlet_core::memory;
    use gimlet_core::time::SystemClock;

    use super::*;
    use crate::config::NodeRoles;
    use crate::dependencies::NodeDependencies;
    use crate::storage::StorageWatch;

    use NodeRole::{Business, Connect, Logic};

    /// Starts these roles over memory; without `data` the storage holds connections only.
    fn start(roles: &[NodeRole], data: bool, builtin: bool) -> Result<RunningRoles, StartError> {
        let mut config = Config::embedded();
        config.roles = NodeRoles(roles.to_vec());
        config.cluster.logic = vec!["127.0.0.1:1".into()];
        config.cluster.business = vec!["127.0.0.1:1".into()];
        let stores = memory::stores();
        let clock: Arc<dyn TimeSource> = Arc::new(SystemClock);
        let verifier = Arc::new(FixedCode::default());
        let settings = BuiltinConfig::default();
        let builtin =
            builtin.then(|| BuiltinBusiness::new(&stores, Arc::clone(&clock), verifier, settings));
        let storage = OpenedStorage {
            room: Arc::clone(&stores.room),
            route: Arc::clone(&stores.route),
            stores: data.then_some(stores),
            watch: StorageWatch::Memory,
            #[cfg(all(unix, feature = "sled"))]
            control: None,
            cluster: ClusterId::default(),
            servers: NodeDependencies::default(),
        };
        let identity = IdentityParts::default();
        RunningRoles::start(&config, &storage, builtin, None, None, clock, identity)
    }

    #[tokio::test]
    async fn each_combination_has_the_roles_that_it_names_and_no_other() {
        let combinations: [&[NodeRole]; 7] = [
            &[Connect, Logic, Business],
            &[Connect, Logic],
            &[Connect, Business],
            &[Logic, Business],
            &[Connect],
            &[Logic],
            &[Business],
        ];
        for named in combinations {
            let has = |role| named.contains(&role);
            let roles = start(named, true, has(Business)).unwrap();
            assert_eq!(roles.gateway().is_some(), has(Connect), "{named:?}");
            assert_eq!(roles.service().is_some(), has(Logic), "{named:?}");
            assert_eq!(roles.builtin().is_some(), has(Business), "{named:?}");
            assert_eq!(
                roles.node().is_some(),
                has(Connect) && has(Logic),
                "{named:?}"
            );
            let checks_tokens = has(Logic) || has(Business);
            assert_eq!(roles.business().is_some(), checks_tokens, "{named:?}");
            assert_eq!(roles.fanout().is_some(), checks_tokens, "{named:?}");
            let remote = has(Logic) && !has(Business);
            assert_eq!(roles.business_failures().is_some(), remote, "{named:?}");
            roles.stop().await;
        }
    }

    #[tokio::test]
    async fn a_role_that_cannot_start_is_an_error() {
        let cases: [(&[NodeRole], bool, bool, &str); 5] = [
            (&[], true, false, "roles names no role"),
            (&[Business], true, false, "business cannot start"),
            (&[Business], false, true, "business cannot start"),
            (
                &[Connect, Logic, Business],
                false,
                true,
                "logic cannot start",
            ),
            (&[Logic], false, false, "logic cannot start"),
        ];
        for (named, data, builtin, expected) in cases {
            let error = start(named, data, builtin).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(expected), "{named:?}: {error}");
        }
    }
}
