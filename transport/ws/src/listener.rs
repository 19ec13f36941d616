//! Accepts TCP connections and makes them WebSockets.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use gimlet_transport::origins::Origins;
use gimlet_transport::{LinkError, Listener, Opened, Pending, socket};
use http::StatusCode;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::gather::Gather;
use crate::link::WsLink;
use crate::query;
use crate::upgrade;

/// The library's read buffer, which it takes for every connection (limits.md F: with 1 KiB an idle
/// connection costs 3.9 KB, with the default 138 KB).
const READ_BUFFER: usize = 1024;

/// The library's write buffer. It holds an answer to a ping or a close only until that lands in the
/// gathered output; what does not fit waits, and the answer to a newer ping replaces it.
const MAX_WRITE_BUFFER: usize = 512;

/// Listens for WebSocket clients.
#[derive(Debug)]
pub struct WsFrames {
    listener: TcpListener,
    limit: usize,
    origins: Origins,
    development: bool,
}

impl WsFrames {
    /// Serves a bound socket. Messages of clients may have `limit` bytes.
    #[must_use]
    pub const fn new(listener: TcpListener, limit: usize, origins: Origins) -> Self {
        Self {
            listener,
            limit,
            origins,
            development: false,
        }
    }

    /// Refuses requests that came through a proxy, as a development run does.
    #[must_use]
    pub const fn development(mut self, development: bool) -> Self {
        self.development = development;
        self
    }
}

impl Listener for WsFrames {
    type Pending = WsPending;

    async fn accept(&mut self) -> io::Result<(WsPending, SocketAddr)> {
        let (stream, addr) = self.listener.accept().await?;
        let pending = WsPending {
            stream,
            limit: self.limit,
            origins: self.origins.clone(),
            development: self.development,
        };
        Ok((pending, addr))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// An accepted connection whose HTTP request is still to come.
#[derive(Debug)]
pub struct WsPending {
    stream: TcpStream,
    limit: usize,
    origins: Origins,
    development: bool,
}

impl Pending for WsPending {
    type Link = WsLink;

    async fn open(mut self) -> Result<Opened<WsLink>, LinkError> {
        socket::prepare(&self.stream)?;
        let upgraded = upgrade::upgrade(&mut self.stream, &self.origins, self.development).await?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_WRITE_BUFFER)
            .max_message_size(Some(self.limit))
            .max_frame_size(Some(self.limit));
        let gather = Gather::new(self.stream);
        let stream =
            WebSocketStream::from_partially_read(gather, upgraded.tail, Role::Server, Some(config))
                .await;
        Ok(Opened {
            link: WsLink::new(stream),
            greeting: query::greeting(upgraded.query.as_deref()),
        })
    }

    async fn refuse(mut self, after: Duration) {
        let retry = format!("Retry-After: {}\r\n", after.as_secs().max(1));
        let text = "the server has as many connections as it may; come back later";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        // The client is being turned away: that it has left by itself is no news.
        drop(upgrade::answer(&mut self.stream, status, text, &retry).await);
    }
}
