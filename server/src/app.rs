//! A server that is built but does not run yet: everything opened, every address known.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use gimlet_core::business::{Builtin, BuiltinConfig};
use gimlet_core::gateway;
use gimlet_core::node::{Node, NodeBuilder};
use gimlet_core::service;
use gimlet_core::time::{Clock, SystemClock};
use gimlet_transport::admission::Admission;
use gimlet_transport::{SessionSettings, Sessions, WirePushes};
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::config::{Config, ConfigError, Direct, Limits, StorageKind, SyncFromZero};
use crate::health::Health;
use crate::http::Folder;
use crate::http::files::Files;
use crate::listeners::{Addrs, Listeners};
use crate::metrics::Metrics;
use crate::storage::{self, Storage, Watch};
use crate::verifier;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A listener's address cannot be had.
    #[error("{key}: cannot listen on {addr}: {source}; {}", hint(source, env))]
    Bind {
        /// The key of the listener.
        key: &'static str,
        /// The key's name in the environment.
        env: String,
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A bound socket failed.
    #[error("a listener failed at start: {0}")]
    Socket(#[source] io::Error),
    /// The storage cannot be opened.
    #[error("{0}")]
    Storage(String),
}

fn hint(error: &io::Error, env: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("another program listens there: stop it, or set {env} to another address")
        }
        io::ErrorKind::PermissionDenied => {
            format!("ports below 1024 need a privilege: set {env} to a higher one")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no such address: set {env} to one of its own")
        }
        _ => format!("set {env} to an address that can be listened on"),
    }
}

/// Descriptors kept for everything but clients: storage, gRPC, HTTP.
const SPARE_DESCRIPTORS: u64 = 1_000;
/// Clients' connections if the number of descriptors is not known, or very small.
const FEWEST_CONNECTIONS: usize = 256;

/// A built server: its sockets are bound and its storage is open. [`run`](Self::run) it.
#[derive(Debug)]
pub struct App {
    pub(crate) addrs: Addrs,
    pub(crate) listeners: Listeners,
    pub(crate) node: Node,
    pub(crate) api: Api,
    pub(crate) files: Files,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) watch: Watch,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Metrics,
    /// Cancelled when accepting and serving is to end.
    pub(crate) stop: CancellationToken,
    pub(crate) config: Config,
}

impl App {
    /// Where it listens.
    #[must_use]
    pub const fn addrs(&self) -> &Addrs {
        &self.addrs
    }

    /// The node inside.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }
}

#[cfg(feature = "sled")]
impl App {
    /// Holds commits of the embedded storage before they become durable: for tests of what a
    /// client may see.
    #[doc(hidden)]
    #[must_use]
    pub fn flush_gate(&self) -> Option<gimlet_storage_sled::FlushGate> {
        match &self.watch {
            Watch::Memory => None,
            Watch::Sled(_, gate) => Some(gate.clone()),
        }
    }
}

/// Checks the configuration, binds every listener, opens the storage and starts the node.
pub async fn build(config: Config) -> Result<App, StartError> {
    for notice in config.check()? {
        tracing::warn!("{}", notice.0);
    }
    let (listeners, addrs) = Listeners::bind(&config.listen).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let Storage { stores, watch } = storage::open(&config, Arc::clone(&clock)).await?;

    let verifier = verifier::of(&config.business.code_verifier).map_err(|error| {
        StartError::Storage(format!("business.code_verifier is no address: {error}"))
    })?;
    let builtin = BuiltinConfig {
        token_ttl: config.business.token_ttl,
        fixed_token: config.compat.fixed_token,
        failed_sign_ins: config.limits.node.failed_sign_ins,
        search_page: config.limits.node.list_page,
    };
    let builtin = Builtin::new(&stores, Arc::clone(&clock), verifier, builtin);
    let mut node = NodeBuilder::new(stores, Arc::new(builtin.clone()));
    node.limits = config.limits.node.clone();
    node.clock = clock;
    node.codec = Arc::new(WirePushes);
    node.policy = service::Policy {
        direct: match config.policy.direct {
            Direct::Anyone => service::Direct::Anyone,
            Direct::Friends => service::Direct::Friends,
        },
        ..service::Policy::default()
    };
    node.from_zero = match config.policy.sync_from_zero {
        SyncFromZero::All => gateway::SyncFromZero::All,
        SyncFromZero::DeviceAck => gateway::SyncFromZero::DeviceAck,
        SyncFromZero::UserAck => gateway::SyncFromZero::UserAck,
    };
    let node = node.start();

    let (stop, metrics) = (CancellationToken::new(), Metrics::new());
    let sessions = Sessions::new(
        node.gateway().clone(),
        session_settings(&config),
        stop.clone(),
    );
    let files = Files {
        folder: Arc::new(match config.storage.kind {
            StorageKind::Memory => Folder::temporary(),
            StorageKind::Sled | StorageKind::Mysql => Folder::under(&config.data_dir),
        }),
        business: Arc::new(builtin.clone()),
        base: base_url(&config, &addrs),
        max: config.http.upload_max,
        anonymous: config.http.anonymous_upload
            || addrs.http.is_some_and(|addr| addr.ip().is_loopback()),
    };
    Ok(App {
        api: Api {
            node: node.clone(),
            builtin,
            metrics: metrics.clone(),
        },
        addrs,
        listeners,
        node,
        files,
        sessions: Arc::new(sessions),
        admission: Admission::new(connections(&config.limits), per_address(&config.limits)),
        watch,
        health: Arc::new(Health::default()),
        metrics,
        stop,
        config,
    })
}

fn session_settings(config: &Config) -> SessionSettings {
    /// gim drops a silent WebSocket a minute after a silent TCP connection.
    const WS_MORE: std::time::Duration = std::time::Duration::from_mins(1);
    let limits = &config.limits;
    SessionSettings {
        silent: limits.silent_before_sign_in,
        idle_tcp: limits.idle,
        idle_ws: limits.idle.saturating_add(WS_MORE),
        failed_sign_ins: limits.node.failed_sign_ins,
        pace: config.compat.tcp_pacing,
        ..SessionSettings::default()
    }
}

/// What uploaded files' addresses begin with.
fn base_url(config: &Config, addrs: &Addrs) -> String {
    let own = || {
        addrs
            .http
            .map(|addr| format!("http://{addr}"))
            .unwrap_or_default()
    };
    let base = config.http.public_url.clone().unwrap_or_else(own);
    base.trim_end_matches('/').to_owned()
}

fn connections(limits: &Limits) -> usize {
    if limits.max_connections > 0 {
        return limits.max_connections;
    }
    let descriptors = rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(0, |(soft, _)| soft);
    usize::try_from(descriptors.saturating_sub(SPARE_DESCRIPTORS))
        .unwrap_or(usize::MAX)
        .max(FEWEST_CONNECTIONS)
}

const fn per_address(limits: &Limits) -> usize {
    if limits.per_address == 0 {
        usize::MAX
    } else {
        limits.per_address
    }
}
