//! Addresses of the servers, and of the connections to them.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::framing::WireFraming;
use super::sources::SourceAddresses;

/// Addresses of the servers, and of the connections to them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnectTarget {
    /// Addresses of the servers, used in turn.
    pub to: Vec<SocketAddr>,
    /// Framing of the connections.
    pub framing: WireFraming,
    /// Source addresses of the connections.
    pub from: SourceAddresses,
}
