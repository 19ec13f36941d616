//! What every scenario takes on the command line.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// Where messages are stored by a server that is started for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Store {
    /// In memory.
    Memory,
    /// Embedded, durable.
    Sled,
    /// `MySQL` and Redis, whose addresses are in `GIMLET_TEST_MYSQL` and `GIMLET_TEST_REDIS`.
    Mysql,
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Sled => "sled",
            Self::Mysql => "mysql",
        })
    }
}

/// How clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Wire {
    /// TCP with gimlet's extension: sends go over the socket.
    Tcp,
    /// WebSocket with gimlet's extension.
    Ws,
    /// Plain gim: sends go by `LogicExt.SendMessage`, pushes come over TCP, nothing of gimlet's own.
    Gim,
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Ws => "ws",
            Self::Gim => "gim",
        })
    }
}

impl Wire {
    /// What a client says of itself at sign-in: 0 is a client of gim.
    #[must_use]
    pub fn protocol(self) -> u32 {
        u32::from(self != Self::Gim)
    }
}

/// Which server, how long, and where the results go.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Storage of the server that is started for the run
    #[arg(long, value_enum, default_value = "memory", conflicts_with = "server")]
    pub store: Store,
    /// The server's program; by default `gimlet` beside this one
    #[arg(long, value_name = "PATH", conflicts_with = "server")]
    pub gimlet: Option<PathBuf>,
    /// A setting for the started server, for example `GIMLET_LIMITS__SEND_QUEUE=1000`; may be repeated. An
    /// empty value leaves the setting out, for a version that does not know it
    #[arg(long = "set", value_name = "NAME=VALUE", conflicts_with = "server")]
    pub settings: Vec<String>,
    /// Leave the started server's limits at their defaults; without it those that protect it from its
    /// users are raised, which would bound the run instead of the machine
    #[arg(long, conflicts_with = "server")]
    pub default_limits: bool,
    /// Folder for the started server's data; a temporary one by default
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    pub data: Option<PathBuf>,
    /// A running server instead, for the wire in use
    #[arg(long, value_name = "HOST:PORT", requires = "grpc")]
    pub server: Option<SocketAddr>,
    /// Its `LogicExt`, such as <http://127.0.0.1:50100>
    #[arg(long, value_name = "URL", requires = "server")]
    pub grpc: Option<String>,
    /// Its `BusinessExt`, if it is elsewhere
    #[arg(long, value_name = "URL", requires = "server")]
    pub business: Option<String>,
    /// Its process id, if it is on this machine: its memory and CPU are then measured
    #[arg(long, value_name = "PID", requires = "server")]
    pub server_pid: Option<u32>,
    /// The verification code that signs users in
    #[arg(long, default_value = "000000")]
    pub code: String,
    /// How clients speak
    #[arg(long, value_enum, default_value = "tcp")]
    pub wire: Wire,
    /// Loopback addresses to connect from, 127.0.1.1 and up; by default as many as the connections
    /// need, 0 leaves it to the system
    #[arg(long)]
    pub sources: Option<u32>,
    /// Nodes that hold clients' connections, each a process, with the other roles in processes of
    /// their own; by default one process does it all
    #[arg(long, value_name = "NODES", conflicts_with = "server")]
    pub nodes: Option<usize>,
    /// With --nodes, processes for the other roles
    #[arg(long, default_value_t = 1, requires = "nodes")]
    pub logic: usize,
    /// Seconds measured
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Seconds of the same load before
    #[arg(long, default_value_t = 3.0)]
    pub warm_up: f64,
    /// Seconds after the last send within which all must be answered and delivered
    #[arg(long, default_value_t = 15.0)]
    pub grace: f64,
    /// Also measure what the machine could do at most, and print each figure as a share of it
    #[arg(long)]
    pub limits: bool,
    /// Write the results here as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the results here as a page with plots
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl Common {
    /// How long is measured.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.clamp(0.01, 1e6))
    }

    /// How long may pass after the last send until all is answered and delivered.
    #[must_use]
    pub fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.grace.clamp(0.0, 1e6))
    }

    /// How long the load runs before.
    #[must_use]
    pub fn before(&self) -> Duration {
        Duration::from_secs_f64(self.warm_up.clamp(0.0, 1e6))
    }
}
