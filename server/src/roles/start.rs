//! Starts the roles that are configured, or says which of them cannot start.

use std::sync::Arc;

use gimlet_cluster::{AddressError, NodeCredentials, RemoteBusiness, RemoteLogic};
use gimlet_core::before_send::BeforeSendPolicy;
use gimlet_core::business::{BuiltinBusiness, BusinessBackend};
use gimlet_core::events::EventSubscriptions;
use gimlet_core::fanout::{LocalSink, MessageFanout, NoConnections};
use gimlet_core::gateway::{self, ConnectGateway};
use gimlet_core::hub::ConnectionHub;
use gimlet_core::id::NodeId;
use gimlet_core::logic::LogicRole;
use gimlet_core::node::{NodeBuilder, RunningNode};
use gimlet_core::peer::PeerNodes;
use gimlet_core::service::{self, LogicService};
use gimlet_core::store::StoreSet;
use gimlet_core::time::TimeSource;
use gimlet_transport::WirePushCodec;

use super::topology::{BusinessPlace, LocalBusiness, RoleTasks, RoleTopology};
use crate::config::{Config, DirectPolicy, GroupAdd, NodeRole, RoomPush, SyncFromZero};
use crate::identity::IdentityParts;
use crate::start_error::StartError;
use crate::storage::OpenedStorage;

/// Parts that are needed to start a role.
pub(super) struct RoleStarter<'a> {
    pub(super) config: &'a Config,
    pub(super) storage: &'a OpenedStorage,
    pub(super) clock: Arc<dyn TimeSource>,
    /// Events that hooks want.
    pub(super) events: EventSubscriptions,
    /// The hook that decides about messages.
    pub(super) before_send: Option<Arc<BeforeSendPolicy>>,
    pub(super) id: NodeId,
    pub(super) peer: Arc<dyn PeerNodes>,
    pub(super) credentials: NodeCredentials,
    pub(super) identity: IdentityParts,
    pub(super) core: RoleTasks,
    pub(super) cluster: RoleTasks,
}

impl RoleStarter<'_> {
    /// Ends the tasks of the roles that have started.
    pub(super) fn cancel(&self) {
        self.core.token.cancel();
        self.cluster.token.cancel();
    }

    /// Starts the combination of roles that is configured.
    pub(super) fn topology(
        &self,
        builtin: Option<BuiltinBusiness>,
    ) -> Result<RoleTopology, StartError> {
        let has = |role| self.config.roles.has(role);
        // A builtin business service without its role would serve calls that the operator did not
        // ask for; the role without the service would serve none.
        let builtin = match (has(NodeRole::Business), builtin) {
            (true, Some(builtin)) => Some(builtin),
            (true, None) => return Err(lacks_stores("business")),
            (false, _) => None,
        };
        match (has(NodeRole::Connect), has(NodeRole::Logic), builtin) {
            (true, true, builtin) => {
                let business = self.business_place(builtin)?;
                let node = self.node(&business)?;
                Ok(RoleTopology::Node { node, business })
            }
            (false, true, builtin) => {
                let business = self.business_place(builtin)?;
                let service = self.logic(&business)?;
                Ok(RoleTopology::Logic { service, business })
            }
            (true, false, builtin) => {
                let logic = Arc::new(self.remote_logic()?);
                let gateway = self.gateway(Arc::clone(&logic) as _);
                let hub = Arc::clone(gateway.hub());
                let business = builtin.map(|builtin| self.local_business(builtin, hub));
                Ok(RoleTopology::Connect {
                    gateway,
                    logic,
                    business: business.transpose()?,
                })
            }
            (false, false, Some(builtin)) => {
                let business = self.local_business(builtin, Arc::new(NoConnections))?;
                Ok(RoleTopology::Business(business))
            }
            (false, false, None) => Err(StartError::Role(
                "roles names no role; write at least one of: connect, logic, business".into(),
            )),
        }
    }

    fn stores(&self, role: &str) -> Result<StoreSet, StartError> {
        let stores = self.storage.stores.clone();
        stores.ok_or_else(|| lacks_stores(role))
    }

    fn business_place(
        &self,
        builtin: Option<BuiltinBusiness>,
    ) -> Result<BusinessPlace, StartError> {
        if let Some(builtin) = builtin {
            return Ok(BusinessPlace::Here(builtin));
        }
        if let Some(http) = self.identity.http_business() {
            return Ok(BusinessPlace::OverHttp(Arc::clone(http)));
        }
        let remote = RemoteBusiness::new(&self.config.cluster.business, &self.credentials);
        Ok(BusinessPlace::Elsewhere(Arc::new(remote.map_err(address)?)))
    }

    /// Returns the business role as the logic role asks it.
    fn backend(&self, business: &BusinessPlace) -> Arc<dyn BusinessBackend> {
        self.identity.in_front_of(business.backend())
    }

    fn node(&self, business: &BusinessPlace) -> Result<RunningNode, StartError> {
        let mut node = NodeBuilder::new(self.stores("logic")?, self.backend(business));
        node.limits = self.config.limits.node.clone();
        node.clock = Arc::clone(&self.clock);
        node.peer = Arc::clone(&self.peer);
        node.codec = Arc::new(WirePushCodec);
        node.policy = policy(self.config);
        node.from_zero = from_zero(self.config);
        node.events = self.events.clone();
        node.before_send.clone_from(&self.before_send);
        node.id = self.id.clone();
        Ok(node.start())
    }

    fn logic(&self, business: &BusinessPlace) -> Result<LogicService, StartError> {
        let parts = service::ServiceParts {
            stores: self.stores("logic")?,
            limits: self.config.limits.node.clone(),
            clock: Arc::clone(&self.clock),
            business: self.backend(business),
            peer: Arc::clone(&self.peer),
            sink: Arc::new(NoConnections),
            node: self.id.clone(),
            policy: policy(self.config),
            codec: Arc::new(WirePushCodec),
            events: self.events.clone(),
            before_send: self.before_send.clone(),
        };
        let RoleTasks { tracker, token } = &self.core;
        Ok(LogicService::start(parts, tracker, token))
    }

    fn remote_logic(&self) -> Result<RemoteLogic, StartError> {
        let RoleTasks { tracker, token } = &self.cluster;
        let deadline = self.config.limits.node.send_deadline;
        let logic = &self.config.cluster.logic;
        let remote = RemoteLogic::start(logic, &self.credentials, deadline, tracker, token);
        remote.map_err(address)
    }

    fn gateway(&self, logic: Arc<dyn LogicRole>) -> ConnectGateway {
        let limits = self.config.limits.node.clone();
        ConnectGateway::start(
            self.id.clone(),
            Arc::new(ConnectionHub::new(limits.zombies)),
            logic,
            Arc::clone(&self.storage.room),
            Arc::clone(&self.storage.route),
            Arc::clone(&self.peer),
            limits,
            from_zero(self.config),
            &self.core.tracker,
            &self.core.token,
        )
    }

    /// Makes the business role of a process without the logic role, which closes connections itself
    /// (`SignOut`).
    fn local_business(
        &self,
        builtin: BuiltinBusiness,
        connections: Arc<dyn LocalSink>,
    ) -> Result<LocalBusiness, StartError> {
        let (peer, route) = (Arc::clone(&self.peer), Arc::clone(&self.storage.route));
        let fanout = MessageFanout::new(self.id.clone(), connections, peer, route);
        let fanout = fanout.with_devices(self.stores("business")?.device);
        Ok(LocalBusiness { builtin, fanout })
    }
}

/// The error of a role that stores data in a process whose storage holds connections only.
fn lacks_stores(role: &str) -> StartError {
    StartError::Role(format!(
        "roles: {role} cannot start, because the storage was opened without its data; set \
         storage.kind and storage.mysql_url for it, or leave the role out"
    ))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is the end of the error: map_err(address)"
)]
fn address(error: AddressError) -> StartError {
    StartError::Cluster(error.to_string())
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
        device_registrations: config.limits.device_registrations,
        loopback_is_developer: config.is_development(),
    }
}

const fn from_zero(config: &Config) -> gateway::SyncFromZero {
    match config.policy.sync_from_zero {
        SyncFromZero::All => gateway::SyncFromZero::All,
        SyncFromZero::DeviceAck => gateway::SyncFromZero::DeviceAck,
        SyncFromZero::UserAck => gateway::SyncFromZero::UserAck,
    }
}
