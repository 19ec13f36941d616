//! The combinations of roles that a process can have, as types.

use std::sync::Arc;

use gimlet_cluster::{RemoteBusiness, RemoteLogic};
use gimlet_core::business::{BuiltinBusiness, BusinessBackend};
use gimlet_core::fanout::MessageFanout;
use gimlet_core::gateway::ConnectGateway;
use gimlet_core::node::RunningNode;
use gimlet_core::service::LogicService;
use gimlet_identity::HttpBusiness;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The combinations of roles that a process can have.
#[derive(Clone, Debug)]
pub(super) enum RoleTopology {
    /// Connect and logic, which call each other directly.
    Node {
        node: RunningNode,
        business: BusinessPlace,
    },
    /// Logic without connect.
    Logic {
        service: LogicService,
        business: BusinessPlace,
    },
    /// Connect, with its logic role in other processes; perhaps with business beside it.
    Connect {
        gateway: ConnectGateway,
        logic: Arc<RemoteLogic>,
        business: Option<LocalBusiness>,
    },
    /// Business alone.
    Business(LocalBusiness),
}

/// The business role that a logic role calls.
#[derive(Clone, Debug)]
pub(super) enum BusinessPlace {
    /// The built-in business service of this process.
    Here(BuiltinBusiness),
    /// The business servers of other processes.
    Elsewhere(Arc<RemoteBusiness>),
    /// A business server over HTTP.
    OverHttp(Arc<HttpBusiness>),
}

impl BusinessPlace {
    pub(super) fn backend(&self) -> Arc<dyn BusinessBackend> {
        match self {
            Self::Here(builtin) => Arc::new(builtin.clone()),
            Self::Elsewhere(remote) => Arc::clone(remote) as _,
            Self::OverHttp(remote) => Arc::clone(remote) as _,
        }
    }

    pub(super) const fn builtin(&self) -> Option<&BuiltinBusiness> {
        match self {
            Self::Here(builtin) => Some(builtin),
            Self::Elsewhere(_) | Self::OverHttp(_) => None,
        }
    }
}

/// The business role of a process without the logic role: it closes connections by itself.
#[derive(Clone, Debug)]
pub(super) struct LocalBusiness {
    pub(super) builtin: BuiltinBusiness,
    pub(super) fanout: MessageFanout,
}

/// The tasks of the roles, and the token that ends them.
#[derive(Clone, Debug, Default)]
pub(super) struct RoleTasks {
    pub(super) tracker: TaskTracker,
    pub(super) token: CancellationToken,
}

impl RoleTasks {
    pub(super) async fn stop(&self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
