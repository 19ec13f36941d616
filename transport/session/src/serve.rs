//! The protocol of the client listeners: the wire's handshake, then the session.
//!
//! Joins a [`WireFraming`] and a [`ServeLink`] to a protocol of the accept loop. It knows neither
//! packets nor sockets.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use gimlet_listen::admission::LimitReached;
use gimlet_listen::{AdmittedConnection, ConnectionProtocol};
use tokio::net::TcpStream;

use crate::link::{ConnectedLink, OpenedLink, WireFraming};

/// The service that runs on a connection after its handshake.
pub trait ServeLink<L>: Send + Sync + 'static {
    /// Serves the connection until it ends.
    fn serve(&self, opened: OpenedLink<L>, addr: SocketAddr) -> impl Future<Output = ()> + Send;
}

/// Sessions over a wire.
#[derive(Debug)]
pub struct SessionProtocol<F, S> {
    framing: F,
    sessions: Arc<S>,
}

impl<F, S> SessionProtocol<F, S> {
    /// Serves the links of this wire by these sessions.
    pub const fn new(framing: F, sessions: Arc<S>) -> Self {
        Self { framing, sessions }
    }
}

impl<F: WireFraming, S: ServeLink<F::Link>> ConnectionProtocol for SessionProtocol<F, S> {
    type Opened = ConnectedLink<F::Link>;

    async fn open(&self, accepted: AdmittedConnection) -> Option<Self::Opened> {
        let addr = accepted.addr;
        match self.framing.open(accepted).await {
            Ok(connected) => Some(connected),
            Err(error) => {
                tracing::debug!(%addr, %error, "handshake failed");
                None
            }
        }
    }

    fn serve(&self, connected: Self::Opened) -> impl Future<Output = ()> + Send {
        let ConnectedLink {
            opened,
            addr,
            permit,
        } = connected;
        // Not an async block: that would hold the session twice, and every connection has one.
        let session = self.sessions.serve(opened, addr);
        session.map(move |()| drop(permit))
    }

    async fn reject(&self, socket: TcpStream, after: Duration) {
        self.framing.refuse(socket, after).await;
    }

    fn note_full(&self, full: LimitReached, addr: SocketAddr) {
        match full {
            LimitReached::Node => {
                gimlet_core::warn_rated!(
                    %addr,
                    "connection rejected: node is at limits.max_connections"
                );
            }
            LimitReached::Address => gimlet_listen::note_address(addr),
        }
    }
}
