//! The seam to other nodes, which have the roles that this process lacks.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use gimlet_core::id::UserId;
use gimlet_proto::node::{ApiReply, ApiRequest};

/// A role that operations need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiRole {
    /// Messages, groups, friends and devices.
    Logic,
    /// The built-in users.
    Business,
}

/// Number of nodes that have passed a request on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ForwardHops(pub(crate) u32);

/// Reasons another node has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardError {
    /// The request was not executed.
    NotReached,
    /// The request may have been executed.
    Unanswered,
    /// The server of this role does not serve the API.
    Unserved,
}

/// Answer of another node.
pub type ForwardFuture<'a> =
    Pin<Box<dyn Future<Output = Result<ApiReply, ForwardError>> + Send + 'a>>;

/// A node of the cluster, as this process knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterNode {
    /// The address at which other nodes reach it.
    pub address: String,
    /// Its roles, as far as this process knows them.
    pub roles: Vec<&'static str>,
    /// True for this process.
    pub is_here: bool,
    /// True if its address accepts connections now.
    pub is_reachable: bool,
}

/// The nodes of the cluster.
pub type NodeListFuture<'a> = Pin<Box<dyn Future<Output = Vec<ClusterNode>> + Send + 'a>>;

/// The nodes that have the roles which this process lacks.
pub trait ApiNodes: Debug + Send + Sync + 'static {
    /// Returns whether nodes with this role are configured.
    fn has(&self, role: ApiRole) -> bool;

    /// Sends a request to a node with this role: of a user to the node of that user.
    fn call<'a>(
        &'a self,
        role: ApiRole,
        user: Option<UserId>,
        request: &'a ApiRequest,
        within: Duration,
    ) -> ForwardFuture<'a>;

    /// Returns the nodes of the cluster that this process knows, with itself.
    fn list(&self) -> NodeListFuture<'_>;
}
