//! The address that a request counts for.

use std::net::SocketAddr;

use axum::http::HeaderMap;
use gimlet_listen::forwarded::ForwardedHeaders;

/// The address that a request's connection came from: the client's, or that of a proxy which speaks
/// HTTP and names the client in a header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerAddr(pub(crate) SocketAddr);

impl PeerAddr {
    /// Returns the address that failed sign-ins count for. Without configured proxies it is `None`:
    /// an unknown proxy is in front of most HTTP listeners, and failures must not count for it.
    pub(crate) fn client(
        self,
        forwarding: &ForwardedHeaders,
        headers: &HeaderMap,
    ) -> Option<SocketAddr> {
        let Self(peer) = self;
        let ForwardedHeaders { trusted, header } = forwarding;
        if trusted.is_empty() {
            return None;
        }
        if !trusted.contains(peer.ip()) {
            return Some(peer);
        }
        let lines = headers.get_all(header.name()).iter();
        let lines = lines.map(|line| line.to_str().unwrap_or_default());
        let client = forwarding.client(peer.ip(), lines)?;
        Some(SocketAddr::new(client, 0))
    }
}
