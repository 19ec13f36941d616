//! The HTTP API between nodes: requests to the roles that this process lacks, and requests of nodes
//! that lack its roles.

use std::time::Duration;

use gimlet_cluster::{
    AddressError, ApiCallError, ApiHandler, ApiReplyFuture, NodeCredentials, RemoteApi,
};
use gimlet_core::id::UserId;
use gimlet_web::api::{ApiNodes, ApiRequest, ApiRole, ForwardError, ForwardFuture, ForwardedApi};

use crate::config::{Config, NodeRole};

/// The nodes with the roles that this process lacks.
#[derive(Debug)]
pub(crate) struct RemoteRoles {
    logic: Option<RemoteApi>,
    business: Option<RemoteApi>,
}

impl RemoteRoles {
    /// Makes clients of the configured nodes.
    pub(super) fn new(config: &Config, caller: &NodeCredentials) -> Result<Self, AddressError> {
        let nodes = |role, addresses: &[String]| {
            let is_needed = !config.roles.has(role) && !addresses.is_empty();
            let nodes = is_needed.then(|| RemoteApi::new(addresses, caller));
            nodes.transpose()
        };
        Ok(Self {
            logic: nodes(NodeRole::Logic, &config.cluster.logic)?,
            business: nodes(NodeRole::Business, &config.cluster.business)?,
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
}

/// The API of this process, for other nodes.
#[derive(Clone, Debug)]
pub(crate) struct LocalApi(pub(crate) ForwardedApi);

impl ApiHandler for LocalApi {
    fn answer(&self, request: ApiRequest) -> ApiReplyFuture<'_> {
        Box::pin(self.0.answer(request))
    }
}
