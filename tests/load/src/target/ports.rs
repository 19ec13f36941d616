//! Free ports on loopback for servers to be started.

use std::net::{SocketAddr, TcpListener};

use crate::Fault;

/// Below the range the system takes client ports from, so that no client of ours can be on one.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Gives one free address after the other, none twice.
#[derive(Clone, Debug)]
pub(crate) struct Ports {
    from: u16,
    next: usize,
}

impl Ports {
    /// They begin anywhere, since others look for some at the same time.
    pub(crate) fn new() -> Self {
        Self {
            from: rand::random_range(PORTS),
            next: 0,
        }
    }

    /// A free one.
    pub(crate) fn free(&mut self) -> Result<SocketAddr, Fault> {
        while self.next < PORTS.len() {
            let ahead = u16::try_from(self.next).unwrap_or(0);
            let port = PORTS.start + (self.from - PORTS.start + ahead) % (PORTS.end - PORTS.start);
            self.next += 1;
            let addr = SocketAddr::from(([127, 0, 0, 1], port));
            if TcpListener::bind(addr).is_ok() {
                return Ok(addr);
            }
        }
        let why = "none is left between 20000 and 32000";
        Err(Fault::new("free ports", why))
    }
}
