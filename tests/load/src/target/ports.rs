//! Free ports on loopback for servers that are to be started.

use std::net::{SocketAddr, TcpListener};

use crate::LoadError;

/// Port range below the one from which the system takes client ports, so that no client of ours
/// uses one of them.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Source of free addresses; gives each only once.
#[derive(Clone, Debug)]
pub(crate) struct FreePorts {
    from: u16,
    next: usize,
}

impl FreePorts {
    /// Creates a source that begins anywhere, since other runs search at the same time.
    pub(crate) fn new() -> Self {
        Self {
            from: rand::random_range(PORTS),
            next: 0,
        }
    }

    /// Returns a free address.
    pub(crate) fn free(&mut self) -> Result<SocketAddr, LoadError> {
        while self.next < PORTS.len() {
            let ahead = u16::try_from(self.next).unwrap_or(0);
            let port = PORTS.start + (self.from - PORTS.start + ahead) % (PORTS.end - PORTS.start);
            self.next += 1;
            let addr = SocketAddr::from(([127, 0, 0, 1], port));
            if TcpListener::bind(addr).is_ok() {
                return Ok(addr);
            }
        }
        let why = "no port is left between 20000 and 32000";
        Err(LoadError::new("free ports", why))
    }
}
