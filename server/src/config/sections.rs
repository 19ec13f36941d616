//! The sections of the configuration, as plain data with their defaults.
//!
//! The meaning of each key for an operator is written once, in `gimlet.toml`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use gimlet_listen::TrustedNetwork;
use gimlet_listen::forwarded::ForwardedHeader;

use crate::secret::SecretString;

/// A role that a process can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRole {
    /// Holds clients' connections.
    Connect,
    /// Sends, syncs, groups.
    Logic,
    /// Accounts.
    Business,
}

/// The roles of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRoles(pub Vec<NodeRole>);

impl Default for NodeRoles {
    fn default() -> Self {
        Self(vec![NodeRole::Connect, NodeRole::Logic, NodeRole::Business])
    }
}

impl NodeRoles {
    /// Returns whether this role is one of them.
    #[must_use]
    pub fn has(&self, role: NodeRole) -> bool {
        self.0.contains(&role)
    }

    /// Returns whether all three roles run here.
    #[must_use]
    pub fn all(&self) -> bool {
        [NodeRole::Connect, NodeRole::Logic, NodeRole::Business]
            .iter()
            .all(|role| self.0.contains(role))
    }
}

/// Storage engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageKind {
    /// In this process; lost when it ends.
    Memory,
    /// Embedded, under the data directory.
    Sled,
    /// MySQL and Redis.
    Mysql,
}

/// Failures that an answered send survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageDurability {
    /// A loss of power.
    Power,
    /// A killed process.
    Process,
}

/// `[storage]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageConfig {
    /// The engine.
    pub kind: StorageKind,
    /// Failures that an answered send survives (sled).
    pub durability: StorageDurability,
    /// Free space below which sends are refused, in bytes (sled).
    pub min_free: u64,
    /// Bytes of the engine's page cache (sled); the memory it really takes is several times that.
    pub cache: u64,
    /// Address of the MySQL server.
    pub mysql_url: Option<SecretString>,
    /// Address of the Redis server.
    pub redis_url: Option<SecretString>,
    /// PEM file of the CA that signed the certificate of MySQL.
    pub mysql_ca: Option<String>,
    /// PEM file of the CA that signed the certificate of Redis.
    pub redis_ca: Option<String>,
    /// Connections to MySQL of this process.
    pub mysql_connections: u32,
    /// Batches of sends that this process has in flight to MySQL, up to half of the connections.
    pub mysql_parallel_batches: u32,
    /// Accepts a MySQL server that answers commits before they are on disk.
    pub relaxed_durability: bool,
    /// Prefix of every key in Redis.
    pub redis_prefix: String,
    /// Brings the tables in MySQL up to this version at start.
    pub migrate: bool,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            kind: if cfg!(feature = "sled") {
                StorageKind::Sled
            } else {
                StorageKind::Memory
            },
            durability: StorageDurability::Power,
            min_free: 256 << 20,
            cache: 256 << 20,
            mysql_url: None,
            redis_url: None,
            mysql_ca: None,
            redis_ca: None,
            mysql_connections: 16,
            mysql_parallel_batches: 8,
            relaxed_durability: false,
            redis_prefix: "gimlet:".into(),
            migrate: true,
        }
    }
}

/// `[listen]`: `None` or an empty list opens no such listener; port 0 takes a free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// Clients' TCP.
    pub tcp: Option<SocketAddr>,
    /// Clients' WebSocket.
    pub ws: Option<SocketAddr>,
    /// Files.
    pub http: Option<SocketAddr>,
    /// Clients' gRPC services, the same on each.
    pub grpc: Vec<SocketAddr>,
    /// Backends' gRPC services.
    pub internal: Option<SocketAddr>,
    /// Health and metrics.
    pub ops: Option<SocketAddr>,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            tcp: Some(loopback(8080)),
            ws: cfg!(feature = "ws").then(|| loopback(8081)),
            http: Some(loopback(8085)),
            grpc: vec![loopback(50100), loopback(50200)],
            internal: Some(loopback(50000)),
            ops: Some(loopback(8086)),
        }
    }
}

impl ListenConfig {
    /// Returns every listener on a free port of loopback.
    #[must_use]
    pub fn any_port() -> Self {
        Self {
            tcp: Some(loopback(0)),
            ws: cfg!(feature = "ws").then(|| loopback(0)),
            http: Some(loopback(0)),
            grpc: vec![loopback(0)],
            internal: Some(loopback(0)),
            ops: Some(loopback(0)),
        }
    }

    /// Returns the listeners that these roles open: connect has clients' sockets, logic and
    /// business have clients' gRPC, business has files, every role has the rest.
    #[must_use]
    pub fn of(&self, roles: &NodeRoles) -> Self {
        let has = |role| roles.has(role);
        let grpc = has(NodeRole::Logic) || has(NodeRole::Business);
        Self {
            tcp: self.tcp.filter(|_| has(NodeRole::Connect)),
            ws: self.ws.filter(|_| has(NodeRole::Connect)),
            http: self.http.filter(|_| has(NodeRole::Business)),
            grpc: if grpc { self.grpc.clone() } else { Vec::new() },
            internal: self.internal,
            ops: self.ops,
        }
    }

    /// Returns every listener with the key that configures it.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> + '_ {
        let Self {
            tcp,
            ws,
            http,
            grpc,
            internal,
            ops,
        } = self;
        let one = |key, addr: &Option<SocketAddr>| addr.map(|addr| (key, addr));
        grpc.iter()
            .map(|addr| ("listen.grpc", *addr))
            .chain(one("listen.tcp", tcp))
            .chain(one("listen.ws", ws))
            .chain(one("listen.http", http))
            .chain(one("listen.internal", internal))
            .chain(one("listen.ops", ops))
    }
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// The checker of verification codes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CodeVerifier {
    /// Not set: allowed only in a run without any configuration.
    #[default]
    Unset,
    /// Development on one machine: the code 000000, uploads without a sign-in.
    Development,
    /// One code for everyone.
    Fixed(SecretString),
    /// An HTTP address that checks each code.
    Http(String),
}

/// `[business]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusinessConfig {
    /// The checker of verification codes.
    pub code_verifier: CodeVerifier,
    /// Validity of a token.
    pub token_ttl: Duration,
}

impl Default for BusinessConfig {
    fn default() -> Self {
        Self {
            code_verifier: CodeVerifier::Unset,
            token_ttl: Duration::from_hours(90 * 24),
        }
    }
}

/// `[http]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Prefix of uploaded files' addresses.
    pub public_url: Option<String>,
    /// Largest upload, in bytes.
    pub upload_max: u64,
    /// Lets uploads work without a sign-in, also outside a development run.
    pub anonymous_upload: bool,
    /// Origins whose pages may open a WebSocket and upload.
    pub origins: Vec<String>,
    /// Bytes that uploads leave free on the disk, at least; more if messages need more.
    pub upload_min_free: u64,
    /// Bytes a user may upload in a day; 0 is unlimited.
    pub upload_quota: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            public_url: None,
            upload_max: 20 << 20,
            anonymous_upload: false,
            origins: vec!["same".into()],
            upload_min_free: 1 << 30,
            upload_quota: 1 << 30,
        }
    }
}

/// `[compat]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompatConfig {
    /// Hands out and accepts the token `0`, as gim did.
    pub fixed_token: bool,
    /// Paces frames for old TCP clients, which parse one frame per read.
    pub tcp_pacing: bool,
}

impl Default for CompatConfig {
    fn default() -> Self {
        Self {
            fixed_token: false,
            tcp_pacing: true,
        }
    }
}

/// Users who may add a user to a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupAdd {
    /// Every user.
    #[default]
    Anyone,
    /// Its friends.
    Friends,
}

/// Users who may write to a user directly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DirectPolicy {
    /// Everybody.
    #[default]
    Anyone,
    /// Friends.
    Friends,
}

/// Senders that may push to a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoomPush {
    /// Everybody.
    #[default]
    Anyone,
    /// The business backend.
    Business,
}

/// Start of a SYNC from seq 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncFromZero {
    /// Everything that is kept.
    #[default]
    All,
    /// The ack of this device.
    DeviceAck,
    /// The highest ack of the user's devices, as gim did.
    UserAck,
}

/// `[policy]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyConfig {
    /// Users who may write to a user directly.
    pub direct: DirectPolicy,
    /// Users who may add a user to a group.
    pub group_add: GroupAdd,
    /// Senders that may push to a room.
    pub room: RoomPush,
    /// Start of a SYNC from seq 0.
    pub sync_from_zero: SyncFromZero,
}

/// `[limits]`: those of the node and of the listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Bounds that core applies.
    pub node: gimlet_core::limits::Limits,
    /// Clients' connections; 0 means the most that the descriptors allow.
    pub max_connections: usize,
    /// Connections of one address, loopback exempt; 0 means no bound.
    pub per_address: usize,
    /// Devices that one address may register in a second; 0 means no limit.
    pub device_registrations: u32,
    /// A connection without a packet for this long is closed.
    pub idle: Duration,
    /// A connection that sends nothing after connecting is closed after this.
    pub silent_before_sign_in: Duration,
    /// A client that takes none of the data written to it for this long is closed.
    pub stuck: Duration,
    /// A WebSocket client that got nothing for this long gets a ping; 0 means never.
    pub ws_silence: Duration,
    /// Bytes that the system holds for one client connection, in each direction.
    pub socket_buffer: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            node: gimlet_core::limits::Limits::default(),
            max_connections: 0,
            per_address: 1_000,
            device_registrations: 20,
            idle: Duration::from_mins(11),
            silent_before_sign_in: Duration::from_secs(10),
            stuck: Duration::from_mins(2),
            ws_silence: Duration::from_secs(50),
            socket_buffer: 64 << 10,
        }
    }
}

/// `[stop]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopConfig {
    /// Time for which it still serves, already not ready, before it stops accepting.
    pub delay: Duration,
    /// Time limit of a stop.
    pub grace: Duration,
    /// Clients are asked to come back after a random part of this.
    pub come_back: Duration,
}

impl Default for StopConfig {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            grace: Duration::from_secs(10),
            come_back: Duration::from_secs(3),
        }
    }
}

/// The shape of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The shape of a line.
    pub format: LogFormat,
    /// The lines that are written: a level, or tracing's filter syntax.
    pub level: String,
    /// Traces the messages of the users whose id is a multiple of this; 0 traces none.
    pub sample: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".into(),
            sample: 0,
        }
    }
}

/// A listener of this process that can speak TLS by `[tls]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerName {
    /// `listen.tcp`.
    Tcp,
    /// `listen.ws`.
    Ws,
    /// `listen.http`.
    Http,
    /// `listen.grpc`.
    Grpc,
    /// `listen.ops`.
    Ops,
}

impl ListenerName {
    /// Returns the key of its address.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Tcp => "listen.tcp",
            Self::Ws => "listen.ws",
            Self::Http => "listen.http",
            Self::Grpc => "listen.grpc",
            Self::Ops => "listen.ops",
        }
    }
}

/// Proxies in front of the listeners: keys of `[listen]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    /// Networks of the proxies that are believed.
    pub trusted: Vec<TrustedNetwork>,
    /// Listeners on which their connections begin with a PROXY header.
    pub protocol: Vec<ListenerName>,
    /// The header in which they write a client's address.
    pub header: ForwardedHeader,
}

/// `[tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM file of the certificate, followed by those of its CAs.
    pub cert: Option<String>,
    /// PEM file of its private key.
    pub key: Option<String>,
    /// Listeners that speak TLS once there is a certificate.
    pub listeners: Vec<ListenerName>,
    /// `true` if something else encrypts the connections of listeners off loopback.
    pub terminated_elsewhere: bool,
}

impl Default for TlsConfig {
    fn default() -> Self {
        use ListenerName::{Grpc, Http, Tcp, Ws};
        Self {
            cert: None,
            key: None,
            listeners: vec![Tcp, Ws, Http, Grpc],
            terminated_elsewhere: false,
        }
    }
}

/// `[cluster]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterConfig {
    /// The secret that callers of the internal services must send.
    pub secret: Option<SecretString>,
    /// The address at which other nodes reach this one.
    pub advertise: Option<String>,
    /// Logic nodes.
    pub logic: Vec<String>,
    /// Business nodes.
    pub business: Vec<String>,
    /// PEM file of the authorities of the nodes' certificates: TLS between nodes.
    pub tls_ca: Option<String>,
    /// PEM file of this node's certificate.
    pub tls_cert: Option<String>,
    /// PEM file of its private key.
    pub tls_key: Option<String>,
    /// Name in the certificate of every node, instead of the host of its address.
    pub tls_name: Option<String>,
    /// `true` if callers of the internal services must show a certificate of these authorities.
    pub tls_mutual: bool,
}
