//! The storages and the wires of the test matrix.

use std::fmt;

use gimlet_kit::bridge::BridgedWire;

/// Storage of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScenarioStore {
    /// Memory of the process.
    Memory,
    /// Disk, in a folder of its own.
    Sled,
    /// MySQL and Redis, with each role in separate servers.
    Cluster,
}

/// Wire of the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScenarioWire {
    /// gim's framing over TCP.
    Tcp,
    /// WebSocket.
    Ws,
    /// gim's framing inside TLS.
    Tls,
    /// WebSocket inside TLS.
    Wss,
    /// JSON over WebSocket.
    Json,
    /// HTTP requests and an event stream.
    Events,
}

impl ScenarioWire {
    /// Returns whether the wire is encrypted.
    #[must_use]
    pub const fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// Returns the bridge through which clients of gim's framing use the wire, if it carries JSON.
    #[must_use]
    pub const fn bridged(self) -> Option<BridgedWire> {
        match self {
            Self::Json => Some(BridgedWire::Json),
            Self::Events => Some(BridgedWire::Events),
            Self::Tcp | Self::Ws | Self::Tls | Self::Wss => None,
        }
    }
}

impl fmt::Display for ScenarioStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Sled => "sled",
            Self::Cluster => "cluster",
        })
    }
}

impl fmt::Display for ScenarioWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Ws => "ws",
            Self::Tls => "tls",
            Self::Wss => "wss",
            Self::Json => "json",
            Self::Events => "events",
        })
    }
}
