//! Free ports on loopback for a server to be started.

use std::net::{SocketAddr, TcpListener};

use crate::Fault;

/// Below the range the system takes client ports from, so that no client of ours can be on one.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) tcp: SocketAddr,
    pub(super) ws: SocketAddr,
    pub(super) grpc: SocketAddr,
    pub(super) internal: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) ops: SocketAddr,
}

impl Ports {
    /// Six free ones.
    pub(super) fn free() -> Result<Self, Fault> {
        let from = rand::random_range(PORTS);
        let mut free = (0..PORTS.len())
            .filter_map(|n| u16::try_from(n).ok())
            .map(|n| PORTS.start + (from - PORTS.start + n) % (PORTS.end - PORTS.start))
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
            .filter(|addr| TcpListener::bind(addr).is_ok());
        let mut next = || {
            let why = "none is left between 20000 and 32000";
            free.next().ok_or_else(|| Fault::new("free ports", why))
        };
        Ok(Self {
            tcp: next()?,
            ws: next()?,
            grpc: next()?,
            internal: next()?,
            http: next()?,
            ops: next()?,
        })
    }
}
