//! The protocol of the client listeners: the wire's handshake, then the session.
//!
//! Joins a [`Framing`] and a [`Serve`] to a protocol of the accept loop. It knows neither packets nor
//! sockets.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use gimlet_listen::admission::Full;
use gimlet_listen::{Accepted, Protocol};
use tokio::net::TcpStream;

use crate::link::{Connected, Framing, Opened};

/// The service that runs on a connection after its handshake.
pub trait Serve<L>: Send + Sync + 'static {
    /// Serves the connection until it ends.
    fn serve(&self, opened: Opened<L>, addr: SocketAddr) -> impl Future<Output = ()> + Send;
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

impl<F: Framing, S: Serve<F::Link>> Protocol for SessionProtocol<F, S> {
    type Opened = Connected<F::Link>;

    async fn open(&self, accepted: Accepted) -> Option<Self::Opened> {
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
        let Connected {
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

    fn note_full(&self, full: Full, addr: SocketAddr) {
        match full {
            Full::Node => {
                gimlet_core::warn_rated!(
                    %addr,
                    "connection rejected: node is at limits.max_connections"
                );
            }
            Full::Address => gimlet_listen::note_address(addr),
        }
    }
}
