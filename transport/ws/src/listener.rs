//! Accepts TCP connections and turns them into WebSockets.

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

/// The library's read buffer, one per connection: an idle connection was measured at 3.9 KB with
/// 1 KiB, and at 138 KB with the default.
const READ_BUFFER: usize = 1024;

/// The library's write buffer. It holds an answer to a ping or a close only until that is appended
/// to the gathered output; an answer that does not fit waits and is replaced by the answer to a
/// newer ping.
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
    /// Serves a bound socket. Clients' messages may have up to `limit` bytes.
    #[must_use]
    pub const fn new(listener: TcpListener, limit: usize, origins: Origins) -> Self {
        Self {
            listener,
            limit,
            origins,
            development: false,
        }
    }

    /// Sets whether requests that came through a proxy are refused, as in a development run.
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

/// An accepted connection whose HTTP request has not been read.
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
        let text = "the server is at its connection limit; come back later";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        // The client is rejected anyway, so a failure to tell it does not matter.
        drop(upgrade::answer(&mut self.stream, status, text, &retry).await);
    }
}
