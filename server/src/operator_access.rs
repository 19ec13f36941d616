//! Access of the operator's commands to the HTTP API of a running server on the same machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::{Config, ListenerName, SecretString};

/// The address of a server's HTTP API, and a key that is valid while the process runs.
///
/// The server gives it to programs that reach its control socket. Those may read the whole storage
/// anyway, by a backup, so the key has all scopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorAccess {
    /// The address.
    pub url: String,
    /// The key.
    pub key: SecretString,
}

impl OperatorAccess {
    /// Makes the access to a server that listens here, with a new key.
    #[cfg(all(unix, feature = "sled"))]
    pub(crate) fn new(config: &Config, http: SocketAddr) -> Self {
        Self {
            url: api_url(config, http),
            key: SecretString::new(gimlet_core::auth::random_hex()),
        }
    }
}

/// Returns the address of the HTTP API of a server with this configuration that listens here, as it
/// is called from the same machine.
#[must_use]
pub fn api_url(config: &Config, http: SocketAddr) -> String {
    url_of(config, ListenerName::Http, http)
}

/// Returns the address of the ops listener of a server with this configuration that listens here, as
/// it is called from the same machine.
#[must_use]
pub fn ops_url(config: &Config, ops: SocketAddr) -> String {
    url_of(config, ListenerName::Ops, ops)
}

fn url_of(config: &Config, listener: ListenerName, addr: SocketAddr) -> String {
    let scheme = if config.encrypted().contains(&listener) {
        "https"
    } else {
        "http"
    };
    format!("{scheme}://{}", reachable(addr))
}

/// Returns the address by which a listener is reached: the one of loopback if it listens on all.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}
