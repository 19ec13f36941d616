//! The HTTP API between nodes: requests to the roles that this process lacks, requests of nodes that
//! lack its roles, and the list of the nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gimlet_cluster::{
    AddressError, ApiCallError, ApiHandler, ApiReplyFuture, NodeCredentials, RemoteApi, RemotePeer,
    reachable,
};
use gimlet_core::id::{NodeId, UserId};
use gimlet_core::peer::PeerNodes as _;
use gimlet_web::api::{
    ApiNodes, ApiRequest, ApiRole, ClusterNode, ForwardError, ForwardFuture, ForwardedApi,
    NodeListFuture,
};

use crate::config::{Config, NodeRole};

/// The nodes with the roles that this process lacks.
#[derive(Debug)]
pub(crate) struct RemoteRoles {
    logic: Option<RemoteApi>,
    business: Option<RemoteApi>,
    /// Address of this node.
    here: String,
    own_roles: Vec<&'static str>,
    /// The configured nodes by address, with their roles.
    configured: BTreeMap<String, BTreeSet<&'static str>>,
    /// The connect nodes that hold a lease.
    peer: Option<RemotePeer>,
}

impl RemoteRoles {
    /// Makes clients of the configured nodes.
    pub(super) fn new(
        config: &Config,
        here: &NodeId,
        peer: Option<RemotePeer>,
        caller: &NodeCredentials,
    ) -> Result<Self, AddressError> {
        let nodes = |role, addresses: &[String]| {
            let is_needed = !config.roles.has(role) && !addresses.is_empty();
            let nodes = is_needed.then(|| RemoteApi::new(addresses, caller));
            nodes.transpose()
        };
        let mut configured: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (role, addresses) in [
            (NodeRole::Logic, &config.cluster.logic),
            (NodeRole::Business, &config.cluster.business),
        ] {
            // A process that has the role calls none of the others.
            for address in addresses.iter().filter(|_| !config.roles.has(role)) {
                let roles = configured.entry(address.clone()).or_default();
                roles.insert(role.name());
            }
        }
        let own_roles = NodeRole::ALL.into_iter();
        let own_roles = own_roles.filter(|role| config.roles.has(*role));
        Ok(Self {
            logic: nodes(NodeRole::Logic, &config.cluster.logic)?,
            business: nodes(NodeRole::Business, &config.cluster.business)?,
            here: here.name.clone(),
            own_roles: own_roles.map(NodeRole::name).collect(),
            configured,
            peer,
        })
    }

    const fn of(&self, role: ApiRole) -> Option<&RemoteApi> {
        match role {
            ApiRole::Logic => self.logic.as_ref(),
            ApiRole::Business => self.business.as_ref(),
        }
    }
}

impl ApiNodes for RemoteRoles {
    fn has(&self, role: ApiRole) -> bool {
        self.of(role).is_some()
    }

    fn call<'a>(
        &'a self,
        role: ApiRole,
        user: Option<UserId>,
        request: &'a ApiRequest,
        within: Duration,
    ) -> ForwardFuture<'a> {
        Box::pin(async move {
            let nodes = self.of(role).ok_or(ForwardError::NotReached)?;
            let only_reads = request.method == "GET";
            let answered = nodes.call(user, request, only_reads, within).await;
            answered.map_err(|error| match error {
                ApiCallError::NotReached => ForwardError::NotReached,
                ApiCallError::Unanswered => ForwardError::Unanswered,
                ApiCallError::Unserved => ForwardError::Unserved,
            })
        })
    }

    fn list(&self) -> NodeListFuture<'_> {
        Box::pin(async move {
            let mut others = self.configured.clone();
            if let Some(peer) = &self.peer {
                // A node that was restarted is known twice for a while, by one address.
                for node in peer.nodes().await {
                    let roles = others.entry(node.name).or_default();
                    roles.insert(NodeRole::Connect.name());
                }
            }
            others.remove(&self.here);
            let addresses: Vec<_> = others.keys().cloned().collect();
            let reached = reachable(addresses).await;
            let here = ClusterNode {
                address: self.here.clone(),
                roles: self.own_roles.clone(),
                is_here: true,
                is_reachable: true,
            };
            let others = others.into_iter().zip(reached);
            let others = others.map(|((address, roles), is_reachable)| ClusterNode {
                address,
                roles: roles.into_iter().collect(),
                is_here: false,
                is_reachable,
            });
            std::iter::once(here).chain(others).collect()
        })
    }
}

/// The API of this process, for other nodes.
#[derive(Clone, Debug)]
pub(crate) struct LocalApi(pub(crate) ForwardedApi);

impl ApiHandler for LocalApi {
    fn answer(&self, request: ApiRequest) -> ApiReplyFuture<'_> {
        Box::pin(self.0.answer(request))
    }
}

#[cfg(test)]
mod tests {
    use gimlet_cluster::ClusterId;
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::NodeRoles;

    #[tokio::test]
    async fn a_configured_node_that_has_ended_is_listed_as_not_reachable() {
        let logic = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = logic.local_addr().unwrap().to_string();
        let mut config = Config::embedded();
        config.roles = NodeRoles(vec![NodeRole::Connect]);
        config.cluster.logic = vec![address.clone()];
        config.cluster.business = vec![address.clone()];
        let caller = NodeCredentials::new(None, ClusterId::default()).unwrap();
        let roles = RemoteRoles::new(&config, &NodeId::boot("here:1"), None, &caller).unwrap();
        let here = ClusterNode {
            address: "here:1".into(),
            roles: vec!["connect"],
            is_here: true,
            is_reachable: true,
        };
        let mut other = ClusterNode {
            address,
            roles: vec!["business", "logic"],
            is_here: false,
            is_reachable: true,
        };
        assert_eq!(roles.list().await, [here.clone(), other.clone()]);
        drop(logic);
        other.is_reachable = false;
        assert_eq!(roles.list().await, [here, other]);
    }
}
