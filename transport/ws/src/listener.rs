//! Makes WebSockets of accepted connections.

use std::net::IpAddr;
use std::time::Duration;

use gimlet_listen::forwarded::ForwardedHeaders;
use gimlet_listen::origins::AllowedOrigins;
use gimlet_listen::{AdmittedConnection, ClientStream, socket};
use gimlet_transport::{ConnectedLink, FrameCodec, LinkError, OpenedLink, WireFraming};
use http::Request;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::gather::GatheringSocket;
use crate::link::WsLink;
use crate::query;
use crate::upgrade::{UpgradeAnswer, UpgradeRefusal, UpgradeRules, reject, upgrade};

/// The library's read buffer, one per connection: an idle connection was measured at 3.9 KB with
/// 1 KiB, and at 138 KB with the default.
const READ_BUFFER: usize = 1024;

/// The library's write buffer. It holds an answer to a ping or a close only until that is appended
/// to the gathered output; an answer that does not fit waits and is replaced by the answer to a
/// newer ping.
const MAX_WRITE_BUFFER: usize = 512;

/// Bytes of the longest JSON text of a client: room for the largest content in base64, or with every
/// character escaped by a second one.
const MAX_JSON_TEXT: usize = 128 * 1024;

/// One WebSocket message is one frame: binary with protobuf, or a text with JSON.
#[derive(Clone, Debug)]
pub struct WsFrameListener {
    limit: usize,
    rules: UpgradeRules,
}

impl WsFrameListener {
    /// Messages of clients may have `limit` bytes with protobuf, and 128 KiB with JSON.
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

    /// Sets whether requests of strangers are refused, as in a development run.
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

impl WsFrameListener {
    /// Checks a request that another HTTP server has read, from this peer.
    ///
    /// # Errors
    /// The request cannot be upgraded, or its page may not connect.
    pub fn check(
        &self,
        peer: IpAddr,
        request: &Request<()>,
    ) -> Result<UpgradeAnswer, UpgradeRefusal> {
        self.rules.check(peer, request)
    }

    /// Makes the link of a request whose answer with 101 was written; `tail` are the bytes that the
    /// client sent right after the request.
    ///
    /// # Errors
    /// The socket failed.
    pub async fn upgraded(
        &self,
        stream: ClientStream,
        answer: UpgradeAnswer,
        tail: Vec<u8>,
    ) -> Result<OpenedLink<WsLink>, LinkError> {
        socket::prepare(stream.socket())?;
        Ok(self.link(stream, answer, tail).await)
    }

    /// Makes the link of a request that was answered with 101.
    async fn link(
        &self,
        stream: ClientStream,
        answer: UpgradeAnswer,
        tail: Vec<u8>,
    ) -> OpenedLink<WsLink> {
        let UpgradeAnswer { query, codec, .. } = answer;
        let limit = match codec {
            FrameCodec::Protobuf => self.limit,
            FrameCodec::Json => MAX_JSON_TEXT,
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_WRITE_BUFFER)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        let gather = GatheringSocket::new(stream);
        let stream =
            WebSocketStream::from_partially_read(gather, tail, Role::Server, Some(config)).await;
        OpenedLink {
            link: WsLink::new(stream, codec),
            greeting: query::greeting(query.as_deref()),
        }
    }
}

impl WireFraming for WsFrameListener {
    type Link = WsLink;

    const ANSWERS_REFUSED: bool = true;

    async fn open(
        &self,
        mut accepted: AdmittedConnection,
    ) -> Result<ConnectedLink<WsLink>, LinkError> {
        socket::prepare(accepted.stream.socket())?;
        let (answer, tail) = upgrade(&mut accepted, &self.rules).await?;
        let AdmittedConnection {
            stream,
            addr,
            permit,
        } = accepted;
        Ok(ConnectedLink {
            opened: self.link(stream, answer, tail).await,
            addr,
            permit,
        })
    }

    async fn refuse(&self, mut stream: ClientStream, after: Duration) {
        // A client that has left by itself needs no answer.
        drop(reject(&mut stream, after).await);
    }
}
