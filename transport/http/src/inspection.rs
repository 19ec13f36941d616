//! Operations of operators that show the state of a user's inbox, and the nodes of the cluster.

use gimlet_core::id::DeviceId;
use gimlet_core::scope::ApiScope;
use gimlet_core::seq::Seq;
use http::Method;

use crate::backend::NamedUser;
use crate::call::ApiCall;
use crate::json::object;
use crate::nodes::ClusterNode;
use crate::operation::{ApiOperation, NoFields, OperationAccess};
use crate::problem::ApiProblem;

object! {
    /// The ack of a device.
    AckState {
        /// The device.
        device_id: DeviceId,
        /// The seq up to which it has stored the inbox.
        seq: Seq,
    }
}

object! {
    /// The state of a user's inbox, without its messages.
    InboxState {
        /// The seq of the last entry.
        head: Seq,
        /// The seq up to which the server has removed entries.
        floor: Seq,
        /// The acks of the user's devices, by device.
        acks: Vec<AckState>,
    }
}

object! {
    /// A node of the cluster.
    NodeInfo {
        /// The address at which other nodes reach it.
        address: String,
        /// Its roles, as far as the node that answers knows them.
        roles: Vec<String>,
        /// True for the node that answers.
        is_this_node: bool,
        /// True if it accepts connections at this address now.
        is_reachable: bool,
    }
}

object! {
    /// The nodes of the cluster.
    NodeList {
        /// The nodes, by address; the one that answers is the first.
        nodes: Vec<NodeInfo>,
    }
}

impl NodeInfo {
    fn of(node: ClusterNode) -> Self {
        Self {
            address: node.address,
            roles: node.roles.into_iter().map(str::to_owned).collect(),
            is_this_node: node.is_here,
            is_reachable: node.is_reachable,
        }
    }
}

async fn inbox_state(call: ApiCall, input: NamedUser) -> Result<InboxState, ApiProblem> {
    let (head, acks) = call.service()?.inbox_state(input.user_id).await?;
    let acks = acks
        .into_iter()
        .map(|(device_id, seq)| AckState { device_id, seq });
    Ok(InboxState {
        head: head.head,
        floor: head.floor,
        acks: acks.collect(),
    })
}

async fn list_nodes(call: ApiCall, _: NoFields) -> Result<NodeList, ApiProblem> {
    let mut nodes = match &call.shared.api.nodes {
        Some(nodes) => nodes.list().await,
        None => Vec::new(),
    };
    nodes.sort_by_cached_key(|node| (!node.is_here, node.address.clone()));
    Ok(NodeList {
        nodes: nodes.into_iter().map(NodeInfo::of).collect(),
    })
}

/// Returns the operations of this module.
pub(crate) fn operations() -> Vec<ApiOperation> {
    vec![
        ApiOperation::new(
            Method::GET,
            "/users/{user_id}/inbox",
            OperationAccess::Backend(ApiScope::DevicesRead),
            "getInboxState",
            "Returns how far the inbox of a user goes, and what its devices have acknowledged.",
            inbox_state,
        ),
        ApiOperation::new(
            Method::GET,
            "/nodes",
            OperationAccess::Backend(ApiScope::StatsRead),
            "listNodes",
            "Lists the nodes of the cluster that the answering node knows, and whether they accept \
             connections.",
            list_nodes,
        ),
    ]
}
