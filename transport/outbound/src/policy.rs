//! The bounds of requests.

use std::time::Duration;

use gimlet_listen::TrustedNetwork;
use gimlet_listen::pem::PemFile;

/// Bounds of requests, and the targets that they may reach.
#[derive(Clone, Debug)]
pub struct OutboundPolicy {
    /// Networks that are reached although they are not public, also without TLS. Empty by default.
    pub allowed: Vec<TrustedNetwork>,
    /// CAs that are trusted besides the public ones.
    pub ca: Option<PemFile>,
    /// Time for lookup, connect and TLS handshake. 5 s by default.
    pub connect_timeout: Duration,
    /// Time for a whole exchange, with the wait for a permit and the last byte of the answer. 10 s
    /// by default.
    pub exchange_timeout: Duration,
    /// Largest body of an answer, in bytes; a larger one is an error. 64 KiB by default.
    pub max_response_bytes: usize,
    /// Exchanges with one host and port at a time; the next ones wait. With HTTP/1.1 that is also
    /// the number of connections. 16 by default.
    pub exchanges_per_host: usize,
    /// Exchanges with all hosts at a time; the next ones wait. 512 by default.
    pub exchanges: usize,
}

impl Default for OutboundPolicy {
    fn default() -> Self {
        Self {
            allowed: Vec::new(),
            ca: None,
            connect_timeout: Duration::from_secs(5),
            exchange_timeout: Duration::from_secs(10),
            max_response_bytes: 64 << 10,
            exchanges_per_host: 16,
            exchanges: 512,
        }
    }
}
