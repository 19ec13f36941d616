//! Accepts TCP connections and turns them into links.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use gimlet_transport::{Greeting, LinkError, Listener, Opened, Pending, socket};
use tokio::net::{TcpListener, TcpStream};

use crate::frame;
use crate::link::TcpLink;

/// Listens for clients that speak gim's framing.
#[derive(Debug)]
pub struct TcpFrames {
    listener: TcpListener,
    limit: usize,
}

impl TcpFrames {
    /// Serves a bound socket. Clients' frames may have up to `limit` bytes, at most 65,535.
    #[must_use]
    pub fn new(listener: TcpListener, limit: usize) -> Self {
        Self {
            listener,
            limit: limit.min(frame::WIDEST),
        }
    }
}

impl Listener for TcpFrames {
    type Pending = TcpPending;

    async fn accept(&mut self) -> io::Result<(TcpPending, SocketAddr)> {
        let (stream, addr) = self.listener.accept().await?;
        let limit = self.limit;
        Ok((TcpPending { stream, limit }, addr))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// An accepted TCP connection. TCP needs no handshake of its own.
#[derive(Debug)]
pub struct TcpPending {
    stream: TcpStream,
    limit: usize,
}

impl Pending for TcpPending {
    type Link = TcpLink;

    async fn open(self) -> Result<Opened<TcpLink>, LinkError> {
        socket::prepare(&self.stream)?;
        Ok(Opened {
            link: TcpLink::new(self.stream, self.limit),
            greeting: Greeting::BySignIn,
        })
    }

    async fn refuse(self, _after: Duration) {
        // A client that has not signed in has not declared that it understands PT_CLOSE; gim's
        // clients reconnect by themselves after some seconds.
    }
}
