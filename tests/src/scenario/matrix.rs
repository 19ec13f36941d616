//! The storages and the wires of the test matrix.

use std::fmt;

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
        })
    }
}
