//! Command-line arguments that all scenarios share.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// Storage of a server that is started for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StoreKind {
    /// In memory.
    Memory,
    /// Embedded, durable.
    Sled,
    /// `MySQL` and Redis at the addresses in `GIMLET_TEST_MYSQL` and `GIMLET_TEST_REDIS`.
    Mysql,
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Sled => "sled",
            Self::Mysql => "mysql",
        })
    }
}

/// Protocol between clients and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WireKind {
    /// TCP with gimlet's extension: sends go over the socket.
    Tcp,
    /// WebSocket with gimlet's extension.
    Ws,
    /// JSON over WebSocket.
    Json,
    /// Event streams over HTTP: sends go by `LogicExt.SendMessage`, pushes come over the stream.
    Events,
    /// Plain gim: sends go by `LogicExt.SendMessage`, pushes come over TCP, no extension of gimlet.
    Gim,
}

impl fmt::Display for WireKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Ws => "ws",
            Self::Json => "json",
            Self::Events => "events",
            Self::Gim => "gim",
        })
    }
}

impl WireKind {
    /// Returns whether clients send over their own connections.
    #[must_use]
    pub const fn can_send(self) -> bool {
        !matches!(self, Self::Gim | Self::Events)
    }

    /// Returns the protocol number that a client gives at sign-in; 0 is a client of gim.
    #[must_use]
    pub fn protocol(self) -> u32 {
        u32::from(self != Self::Gim)
    }
}

/// Arguments that all scenarios share: server, duration and output files.
#[derive(Args, Clone, Debug)]
pub struct CommonArgs {
    /// Storage of the server that is started for the run
    #[arg(long, value_enum, default_value = "memory", conflicts_with = "server")]
    pub store: StoreKind,
    /// Path of the server's program; by default `gimlet` beside this program
    #[arg(long, value_name = "PATH", conflicts_with = "server")]
    pub gimlet: Option<PathBuf>,
    /// A setting for the started server, for example `GIMLET_LIMITS__SEND_QUEUE=1000`; may be
    /// repeated. An empty value leaves the setting out, for a version that does not know it
    #[arg(long = "set", value_name = "NAME=VALUE", conflicts_with = "server")]
    pub settings: Vec<String>,
    /// Keep the started server's limits at their defaults; by default, limits that would bound the
    /// run instead of the machine are raised
    #[arg(long, conflicts_with = "server")]
    pub default_limits: bool,
    /// Folder for the started server's data; by default a temporary one
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    pub data: Option<PathBuf>,
    /// Use a running server instead: the address of its listener for the wire in use
    #[arg(long, value_name = "HOST:PORT", requires = "grpc")]
    pub server: Option<SocketAddr>,
    /// URL of the running server's `LogicExt`, for example <http://127.0.0.1:50100>
    #[arg(long, value_name = "URL", requires = "server")]
    pub grpc: Option<String>,
    /// URL of its `BusinessExt`, if that has another address
    #[arg(long, value_name = "URL", requires = "server")]
    pub business: Option<String>,
    /// Process id of the running server, if it is on this machine: its memory and CPU are then
    /// measured
    #[arg(long, value_name = "PID", requires = "server")]
    pub server_pid: Option<u32>,
    /// Verification code that signs users in
    #[arg(long, default_value = "000000")]
    pub code: String,
    /// Protocol of the clients
    #[arg(long, value_enum, default_value = "tcp")]
    pub wire: WireKind,
    /// Number of loopback addresses to connect from, 127.0.1.1 and up; by default as many as the
    /// connections need; 0 lets the system choose
    #[arg(long)]
    pub sources: Option<u32>,
    /// Connect nodes, each a process, with the other roles in processes of their own; by default
    /// one process has all roles
    #[arg(long, value_name = "NODES", conflicts_with = "server")]
    pub nodes: Option<usize>,
    /// Processes for the other roles, with --nodes
    #[arg(long, default_value_t = 1, requires = "nodes")]
    pub logic: usize,
    /// Seconds of the measured part
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Seconds of the same load before the measured part
    #[arg(long, default_value_t = 3.0)]
    pub warm_up: f64,
    /// Seconds after the last send by which everything must be answered and delivered
    #[arg(long, default_value_t = 15.0)]
    pub grace: f64,
    /// Also measure the limits of the machine, and print each figure as a share of its limit
    #[arg(long)]
    pub limits: bool,
    /// Write the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the results to this file as a page with plots
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl CommonArgs {
    /// Leaves the number of connections over sockets to the server. Raised to what its descriptors allow, it
    /// would leave 19 connections to HTTP.
    pub fn leave_descriptors_to_http(&mut self) {
        // The first of a name is overridden by those that the user gives.
        let setting = "GIMLET_LIMITS__MAX_CONNECTIONS=".to_owned();
        self.settings.insert(0, setting);
    }

    /// Returns the length of the measured part.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.clamp(0.01, 1e6))
    }

    /// Returns the time after the last send by which everything must be answered and delivered.
    #[must_use]
    pub fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.grace.clamp(0.0, 1e6))
    }

    /// Returns the length of the warm-up.
    #[must_use]
    pub fn before(&self) -> Duration {
        Duration::from_secs_f64(self.warm_up.clamp(0.0, 1e6))
    }
}
