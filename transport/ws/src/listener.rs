//! Makes WebSockets of accepted connections.

use std::time::Duration;

use gimlet_listen::forwarded::ForwardedHeaders;
use gimlet_listen::origins::AllowedOrigins;
use gimlet_listen::{AdmittedConnection, ClientStream, socket};
use gimlet_transport::{ConnectedLink, LinkError, OpenedLink, WireFraming};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::gather::GatheringSocket;
use crate::link::WsLink;
use crate::query;
use crate::upgrade::{UpgradeRules, UpgradedRequest, reject, upgrade};

/// The library's read buffer, one per connection: an idle connection was measured at 3.9 KB with
/// 1 KiB, and at 138 KB with the default.
const READ_BUFFER: usize = 1024;

/// The library's write buffer. It holds an answer to a ping or a close only until that is appended
/// to the gathered output; an answer that does not fit waits and is replaced by the answer to a
/// newer ping.
const MAX_WRITE_BUFFER: usize = 512;

/// One binary WebSocket message is one frame.
#[derive(Clone, Debug)]
pub struct WsFrameListener {
    limit: usize,
    rules: UpgradeRules,
}

impl WsFrameListener {
    /// Messages of clients may have `limit` bytes.
    #[must_use]
    pub fn new(limit: usize, origins: AllowedOrigins) -> Self {
        Self {
            limit,
            rules: UpgradeRules {
                origins,
                development: false,
                forwarding: ForwardedHeaders::default(),
            },
        }
    }

    /// Sets whether requests that came through a proxy are refused, as in a development run.
    #[must_use]
    pub const fn development(mut self, development: bool) -> Self {
        self.rules.development = development;
        self
    }

    /// Believes these proxies when they name a client's address.
    #[must_use]
    pub fn forwarding(mut self, forwarding: ForwardedHeaders) -> Self {
        self.rules.forwarding = forwarding;
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
        let UpgradedRequest { query, tail } = upgrade(&mut accepted, &self.rules).await?;
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
