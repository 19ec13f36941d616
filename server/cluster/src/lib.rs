//! Calls between nodes: each seam of core (`LogicRole`, `PeerNodes`, `BusinessBackend`) as a gRPC
//! client, and the servers of the first two; and requests of the HTTP API on their way to a node that
//! has the role for them.
//!
//! Serves `build`, which uses the remote half of a seam where the role behind it is not in this
//! process. The protocol is `gimlet.node.v1`; a backend's own business service is called through
//! gim's `BusinessInt`. This module decides nothing: requests and answers are core's.

mod api_client;
mod api_server;
mod business_client;
mod call;
mod connect_server;
mod convert;
mod logic_client;
mod logic_server;
mod peer;
mod placement;
mod raw_status;
mod reachability;
mod refusal;
#[cfg(test)]
mod tests;
mod tls;

pub use api_client::{ApiCallError, RemoteApi};
pub use api_server::{ApiHandler, ApiReplyFuture, ApiServer};
pub use business_client::{RemoteBusiness, TOKEN_LEFT_HEADER, WRONG_SECRET_HEADER};
pub use call::{ClusterId, CredentialInterceptor, NodeChannel, NodeCredentials, check_address};
pub use connect_server::ConnectServer;
pub use logic_client::RemoteLogic;
pub use logic_server::LogicServer;
pub use peer::RemotePeer;
pub use reachability::reachable;
pub use tls::{NodeFiles, NodeTls, ServerName};

/// The error of an address at which no node can be called.
pub type AddressError = tonic::transport::Error;
