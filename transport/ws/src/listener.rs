//! Makes WebSockets of accepted connections.

use std::net::IpAddr;
use std::time::Duration;

use gimlet_listen::forwarded::ForwardedHeaders;
use gimlet_listen::origins::AllowedOrigins;
use gimlet_listen::{AcceptLimits, AdmittedConnection, ClientStream, socket};
use gimlet_transport::{ConnectedLink, LinkError, OpenedLink, WireFraming};
use http::StatusCode;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::gather::GatheringSocket;
use crate::link::WsLink;
use crate::query;
use crate::upgrade::{self, UpgradedRequest};

/// The library's read buffer, one per connection: an idle connection was measured at 3.9 KB with
/// 1 KiB, and at 138 KB with the default.
const READ_BUFFER: usize = 1024;

/// The library's write buffer. It holds an answer to a ping or a close only until that is appended
/// to the gathered output; an answer that does not fit waits and is replaced by the answer to a
/// newer ping.
const MAX_WRITE_BUFFER: usize = 512;

/// Answer to a client beyond the connection limit.
const FULL: &str = "the server has as many connections as it may; come back later";

/// One binary WebSocket message is one frame.
#[derive(Clone, Debug)]
pub struct WsFrameListener {
    limit: usize,
    pub(crate) origins: AllowedOrigins,
    pub(crate) development: bool,
    pub(crate) forwarding: ForwardedHeaders,
}

impl WsFrameListener {
    /// Messages of clients may have `limit` bytes.
    #[must_use]
    pub fn new(limit: usize, origins: AllowedOrigins) -> Self {
        Self {
            limit,
            origins,
            development: false,
            forwarding: ForwardedHeaders::default(),
        }
    }

    /// Sets whether requests that came through a proxy are refused, as in a development run.
    #[must_use]
    pub const fn development(mut self, development: bool) -> Self {
        self.development = development;
        self
    }

    /// Believes these proxies when they name a client's address.
    #[must_use]
    pub fn forwarding(mut self, forwarding: ForwardedHeaders) -> Self {
        self.forwarding = forwarding;
        self
    }
}

impl WireFraming for WsFrameListener {
    type Link = WsLink;

    async fn open(
        &self,
        mut accepted: AdmittedConnection,
    ) -> Result<ConnectedLink<WsLink>, LinkError> {
        socket::prepare(accepted.stream.socket())?;
        let UpgradedRequest { query, tail } = upgrade::upgrade(&mut accepted, self).await?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_WRITE_BUFFER)
            .max_message_size(Some(self.limit))
            .max_frame_size(Some(self.limit));
        let AdmittedConnection {
            stream,
            addr,
            permit,
        } = accepted;
        let gather = GatheringSocket::new(stream);
        let stream =
            WebSocketStream::from_partially_read(gather, tail, Role::Server, Some(config)).await;
        let opened = OpenedLink {
            link: WsLink::new(stream),
            greeting: query::greeting(query.as_deref()),
        };
        Ok(ConnectedLink {
            opened,
            addr,
            permit,
        })
    }

    async fn refuse(&self, socket: TcpStream, after: Duration) {
        // The client is rejected anyway, so an error because it has already left is ignored.
        drop(reject(&mut ClientStream::Plain(socket), after).await);
    }
}

/// Answers that the connection limit is reached.
async fn reject(stream: &mut ClientStream, after: Duration) -> std::io::Result<()> {
    let retry = format!("Retry-After: {}\r\n", after.as_secs().max(1));
    upgrade::answer(stream, StatusCode::SERVICE_UNAVAILABLE, FULL, &retry).await
}

/// Counts the connection for the client that a trusted proxy has named, or answers that the
/// connection limit is reached.
pub(crate) async fn count_forwarded(
    accepted: &mut AdmittedConnection,
    ip: IpAddr,
) -> Result<(), LinkError> {
    if accepted.forwarded(ip).is_ok() {
        return Ok(());
    }
    let come_back = AcceptLimits::default().come_back;
    reject(&mut accepted.stream, come_back).await?;
    Err(LinkError::protocol(FULL))
}
