//! Reasons a server does not start.

use std::io;
use std::net::SocketAddr;

use crate::config::ConfigError;

/// Reasons a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A listener cannot bind its address.
    #[error("{key}: cannot listen on {addr}: {source}; {}", hint(source, env))]
    Bind {
        /// The key of the listener.
        key: &'static str,
        /// The key's name in the environment.
        env: String,
        /// The address.
        addr: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A bound socket failed.
    #[error("a listener failed at start: {0}")]
    Socket(#[source] io::Error),
    /// The storage cannot be opened.
    #[error("{0}")]
    Storage(String),
    /// A certificate cannot be used.
    #[error("{0}")]
    Certificate(#[from] gimlet_listen::pem::PemError),
    /// Other nodes cannot be called as configured.
    #[error("{0}")]
    Cluster(String),
    /// A role lacks something that it cannot start without.
    #[error("{0}")]
    Role(String),
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
