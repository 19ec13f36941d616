//! Requests of the HTTP API to nodes that have the role for them.
//!
//! A user's requests go to one node, as those of its sockets do, so that its sends keep their order. A
//! request is sent to a second node only if the first one certainly did not receive it, or if it only
//! reads.

use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gimlet_core::id::UserId;
use gimlet_proto::node;
use gimlet_proto::node::api_node_client::ApiNodeClient;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};

use super::business_client::WRONG_SECRET_HEADER;
use super::call::{MESSAGE_MAX_BYTES, NodeChannel, NodeCredentials};
use super::placement::UserPlacement;

/// A node that failed is asked last for this long.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(2);
/// Nodes that are asked before a request fails.
const MAX_ATTEMPTS: usize = 3;

/// Reasons a request was not answered by another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiCallError {
    /// No node has executed the request.
    #[error("no node was reached")]
    NotReached,
    /// A node may have executed the request.
    #[error("the node did not answer")]
    Unanswered,
    /// The server at the configured address does not serve the API: it is not gimlet's, or older.
    #[error("the server does not serve the API")]
    Unserved,
}

/// Nodes of one role, as servers of the HTTP API.
#[derive(Debug)]
pub struct RemoteApi {
    nodes: Vec<ApiNodeLink>,
    placement: UserPlacement,
    next_node: AtomicUsize,
}

#[derive(Debug)]
struct ApiNodeLink {
    address: String,
    client: ApiNodeClient<NodeChannel>,
    /// End of the time in which it is asked last, after a failure.
    resting: Mutex<Option<Instant>>,
}

impl RemoteApi {
    /// Creates a client of the nodes at these addresses; it connects at the first request.
    ///
    /// # Errors
    /// An address is not valid.
    pub fn new(
        addresses: &[String],
        caller: &NodeCredentials,
    ) -> Result<Self, tonic::transport::Error> {
        let nodes = addresses.iter().map(|address| {
            let client = ApiNodeClient::new(caller.channel(address)?);
            Ok(ApiNodeLink {
                address: address.clone(),
                client: client.max_decoding_message_size(MESSAGE_MAX_BYTES),
                resting: Mutex::default(),
            })
        });
        Ok(Self {
            nodes: nodes.collect::<Result<_, tonic::transport::Error>>()?,
            placement: UserPlacement::new(addresses),
            next_node: AtomicUsize::new(0),
        })
    }

    /// Sends a request of this user to a node, and returns its answer within this time. A request
    /// that only reads is repeated at another node.
    ///
    /// # Errors
    /// No node has answered.
    pub async fn call(
        &self,
        user: Option<UserId>,
        request: &node::ApiRequest,
        only_reads: bool,
        within: Duration,
    ) -> Result<node::ApiReply, ApiCallError> {
        let mut failed = ApiCallError::NotReached;
        for link in self.order(user).into_iter().take(MAX_ATTEMPTS) {
            let answered = link.call(request.clone(), within).await;
            let Err(error) = answered else {
                return answered;
            };
            if error == ApiCallError::Unserved {
                return Err(error);
            }
            failed = error;
            if failed == ApiCallError::Unanswered && !only_reads {
                break;
            }
        }
        Err(failed)
    }

    /// Returns the nodes: the user's node first, or in rotation without a user. Those that failed a
    /// moment ago come last.
    fn order(&self, user: Option<UserId>) -> Vec<&ApiNodeLink> {
        let in_turn = || {
            let turn = self.next_node.fetch_add(1, Ordering::Relaxed);
            let count = self.nodes.len().max(1);
            (0..count).map(|at| (at + turn) % count).collect()
        };
        let order = user.map_or_else(in_turn, |user| self.placement.order(user));
        let links = order.into_iter().filter_map(|at| self.nodes.get(at));
        let mut links: Vec<_> = links.collect();
        let now = Instant::now();
        links.sort_by_key(|link| link.is_resting(now));
        links
    }
}

impl ApiNodeLink {
    async fn call(
        &self,
        request: node::ApiRequest,
        within: Duration,
    ) -> Result<node::ApiReply, ApiCallError> {
        let mut client = self.client.clone();
        let answered = timeout(within, client.call(request)).await;
        let failed = match answered {
            Ok(Ok(reply)) => {
                self.rest_until(None);
                return Ok(reply.into_inner());
            }
            Ok(Err(status)) => {
                let (node, why) = (&self.address, status.message());
                gimlet_core::warn_rated!(node, why, "a node failed a request of the HTTP API");
                failure(&status)
            }
            Err(_) => {
                let node = &self.address;
                gimlet_core::warn_rated!(
                    node,
                    "a node did not answer a request of the HTTP API in time"
                );
                ApiCallError::Unanswered
            }
        };
        if failed != ApiCallError::Unserved {
            self.rest_until(Some(Instant::now() + REST_AFTER_FAILURE));
        }
        Err(failed)
    }

    fn is_resting(&self, now: Instant) -> bool {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.is_some_and(|until| now < until)
    }

    fn rest_until(&self, until: Option<Instant>) {
        *self.resting.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// Tells whether the node may have executed a failed call.
fn failure(status: &Status) -> ApiCallError {
    match status.code() {
        Code::Unimplemented => return ApiCallError::Unserved,
        // The node has refused the caller: another cluster, version or secret.
        Code::FailedPrecondition | Code::Unauthenticated => return ApiCallError::NotReached,
        _ if status.metadata().contains_key(WRONG_SECRET_HEADER) => {
            return ApiCallError::NotReached;
        }
        _ => {}
    }
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return ApiCallError::NotReached;
        }
        cause = error.source();
    }
    ApiCallError::Unanswered
}
