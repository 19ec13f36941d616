//! Calls between nodes: each seam of core (`LogicRole`, `PeerNodes`, `BusinessBackend`) as a gRPC
//! client, and the servers of the first two.
//!
//! Serves `build`, which uses the remote half of a seam where the role behind it is not in this
//! process. The protocol is `gimlet.node.v1`; a backend's own business service is called through
//! gim's `BusinessInt`. This module decides nothing: requests and answers are core's.

mod business_client;
mod call;
mod connect_server;
mod convert;
mod logic_client;
mod logic_server;
mod peer;
mod raw_status;
mod refusal;
#[cfg(test)]
mod tests;
mod tls;

pub(crate) use business_client::{RemoteBusiness, TOKEN_LEFT_HEADER, WRONG_SECRET_HEADER};
pub(crate) use call::{ClusterId, NodeCredentials, check_address};
pub(crate) use connect_server::ConnectServer;
pub(crate) use logic_client::RemoteLogic;
pub(crate) use logic_server::LogicServer;
pub(crate) use peer::RemotePeer;
pub(crate) use tls::{NodeFiles, NodeTls};
