//! Upgrades HTTP requests to WebSockets, and answers the requests that cannot be upgraded.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use gimlet_listen::forwarded::ForwardedHeaders;
use gimlet_listen::origins::AllowedOrigins;
use gimlet_listen::wrong_port::ForeignProtocol;
use gimlet_listen::{AcceptLimits, AdmittedConnection, ClientStream, development};
use gimlet_transport::{FrameCodec, LinkError};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::error::{Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{
    Request, Response, create_response, write_response,
};

/// Largest number of bytes of a request's head.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// The path of the WebSocket; a trailing slash is allowed.
const WS_PATH: &str = "/ws";

/// Subprotocols, with the encoding of the frames: a browser that offers some continues only if one is
/// chosen. A client that offers none, as one of gim does, gets protobuf.
const SUBPROTOCOLS: [(&str, FrameCodec); 4] = [
    ("gimlet.json.v1", FrameCodec::Json),
    ("gimlet.v1", FrameCodec::Protobuf),
    ("gimlet", FrameCodec::Protobuf),
    ("gim", FrameCodec::Protobuf),
];

/// Text for clients of another protocol: names this port and the other ones.
const WRONG_PORT: &str = "This is gimlet's WebSocket port (path /ws). gRPC is on listen.grpc (by default \
    50100). TLS is set by tls.cert: docs/tls.md.";

/// Answer to a client beyond the connection limit.
const FULL: &str = "the server has as many connections as it may; come back later";

/// Conditions under which a request is upgraded.
#[derive(Clone, Debug)]
pub(crate) struct UpgradeRules {
    /// Origins whose pages may connect.
    pub(crate) origins: AllowedOrigins,
    /// Set in a development run, which refuses requests that came through a proxy or name another
    /// host.
    pub(crate) development: bool,
    /// Proxies that are believed when they name a client's address.
    pub(crate) forwarding: ForwardedHeaders,
}

/// The answer to a request that may be upgraded, and what the request says about its client.
#[derive(Debug)]
pub struct UpgradeAnswer {
    /// The answer, with status 101.
    pub response: Response,
    /// The client that a trusted proxy has named.
    pub client: Option<IpAddr>,
    /// The query of the request's URL.
    pub(crate) query: Option<String>,
    /// The encoding of its frames.
    pub(crate) codec: FrameCodec,
}

/// The answer to a request that cannot be upgraded.
#[derive(Debug)]
pub struct UpgradeRefusal {
    /// The status of the answer.
    pub status: StatusCode,
    /// The reason, with what would be right.
    pub text: String,
}

impl UpgradeRefusal {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { status, text }
    }
}

impl UpgradeRules {
    /// Checks a request of this peer.
    pub(crate) fn check(
        &self,
        peer: IpAddr,
        request: &Request,
    ) -> Result<UpgradeAnswer, UpgradeRefusal> {
        let headers = request.headers();
        let host = headers.get(header::HOST);
        let host = host.map(|it| it.to_str().unwrap_or_default());
        if self.development
            && let Some(text) = development::refusal(host, |name| headers.contains_key(name))
        {
            return Err(UpgradeRefusal::new(StatusCode::FORBIDDEN, text));
        }
        let path = request.uri().path();
        if path.strip_suffix('/').unwrap_or(path) != WS_PATH {
            let text = "unknown path: the WebSocket is at /ws";
            return Err(UpgradeRefusal::new(StatusCode::NOT_FOUND, text));
        }
        let mut response = create_response(request).map_err(|error| {
            let text = format!("{error}: connect with a WebSocket client");
            UpgradeRefusal::new(StatusCode::UPGRADE_REQUIRED, text)
        })?;
        let text = |name| headers.get(name).map(|it| it.to_str().unwrap_or(""));
        if !self.origins.allow(text(header::ORIGIN), text(header::HOST)) {
            let text = "pages of this Origin may not connect; add it to http.origins of the server";
            return Err(UpgradeRefusal::new(StatusCode::FORBIDDEN, text));
        }
        let chosen = subprotocol(headers);
        if chosen.is_none() && names_our_protocol(headers) {
            let known: Vec<_> = SUBPROTOCOLS.iter().map(|(name, _)| *name).collect();
            let text = format!(
                "the subprotocol is not known; offer one of {}, or none for protobuf",
                known.join(", ")
            );
            return Err(UpgradeRefusal::new(StatusCode::BAD_REQUEST, text));
        }
        if let Some((name, _)) = chosen {
            let name = HeaderValue::from_static(name);
            let headers = response.headers_mut();
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, name);
        }
        let lines = headers.get_all(self.forwarding.header.name()).iter();
        let lines = lines.map(|line| line.to_str().unwrap_or_default());
        Ok(UpgradeAnswer {
            response,
            client: self.forwarding.client(peer, lines),
            query: request.uri().query().map(str::to_owned),
            codec: chosen.map(|(_, codec)| codec).unwrap_or_default(),
        })
    }
}

/// Reads the request and answers it. Returns the answer, and the bytes that the client sent right
/// after the request. A request that cannot be upgraded gets an HTTP answer that says how to connect.
pub(crate) async fn upgrade(
    accepted: &mut AdmittedConnection,
    rules: &UpgradeRules,
) -> Result<(UpgradeAnswer, Vec<u8>), LinkError> {
    let stream = &mut accepted.stream;
    let mut head = Vec::with_capacity(1024);
    let (size, request) = loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(LinkError::Truncated);
        }
        if development::begins_with_proxy(&head) {
            return refuse(stream, StatusCode::BAD_REQUEST, development::PROXY_REFUSAL).await;
        }
        if let Some(foreign @ (ForeignProtocol::Http2 | ForeignProtocol::Tls)) =
            ForeignProtocol::of(&head)
        {
            stream.write_all(&foreign.answer(WRONG_PORT)).await?;
            stream.flush().await?;
            let text = format!("{} on the WebSocket port", foreign.name());
            return Err(LinkError::protocol(text));
        }
        match Request::try_parse(&head) {
            Ok(Some(parsed)) => break parsed,
            Ok(None) if head.len() < MAX_HEAD_BYTES => {}
            Err(WsError::Protocol(ProtocolError::WrongHttpMethod)) => {
                let text = "connect with GET, as WebSocket clients do";
                return refuse(stream, StatusCode::METHOD_NOT_ALLOWED, text).await;
            }
            Ok(None) => {
                let text = "the request's head is over 8 KiB";
                return refuse(stream, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text).await;
            }
            Err(error) => {
                let text = format!("{error}: connect with a WebSocket client to {WS_PATH}");
                return refuse(stream, StatusCode::BAD_REQUEST, &text).await;
            }
        }
    };
    let answer = match rules.check(accepted.addr.ip(), &request) {
        Ok(answer) => answer,
        Err(UpgradeRefusal { status, text }) => {
            return refuse(&mut accepted.stream, status, &text).await;
        }
    };
    // Before the 101: a client beyond its limit is still answered by HTTP.
    count_client(accepted, answer.client).await?;
    let stream = &mut accepted.stream;
    stream.write_all(&head_of(&answer.response)?).await?;
    stream.flush().await?;
    Ok((answer, head.split_off(size)))
}

/// Encodes the head of an answer.
fn head_of(response: &Response) -> Result<Vec<u8>, LinkError> {
    let mut head = Vec::new();
    write_response(&mut head, response).map_err(|error| LinkError::protocol(error.to_string()))?;
    Ok(head)
}

/// Answers with an error and ends the connection.
pub(crate) async fn refuse<T>(
    stream: &mut ClientStream,
    status: StatusCode,
    text: &str,
) -> Result<T, LinkError> {
    answer(stream, status, text, "").await?;
    Err(LinkError::protocol(text))
}

/// Writes a complete HTTP answer and reads until the client ends its side: closing with unread
/// input would reset the connection and destroy the answer in transit.
async fn answer(
    stream: &mut ClientStream,
    status: StatusCode,
    text: &str,
    headers: &str,
) -> io::Result<()> {
    let upgrade = match status {
        StatusCode::UPGRADE_REQUIRED => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        StatusCode::METHOD_NOT_ALLOWED => "Allow: GET\r\n",
        _ => "",
    };
    let body = format!(
        "HTTP/1.1 {status}\r\n{upgrade}{headers}Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{text}\n",
        text.len() + 1
    );
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await?;
    let mut rest = [0; 512];
    let mut left = MAX_HEAD_BYTES;
    while left > 0 {
        let read = stream.read(&mut rest).await?;
        if read == 0 {
            break;
        }
        left = left.saturating_sub(read);
    }
    Ok(())
}

/// Answers that the connection limit is reached.
pub(crate) async fn reject(stream: &mut ClientStream, after: Duration) -> io::Result<()> {
    let retry = format!("Retry-After: {}\r\n", after.as_secs().max(1));
    answer(stream, StatusCode::SERVICE_UNAVAILABLE, FULL, &retry).await
}

/// Counts the connection for the client that a trusted proxy has named, or for the proxy that names
/// none. Answers a client that has too many connections.
async fn count_client(
    accepted: &mut AdmittedConnection,
    named: Option<IpAddr>,
) -> Result<(), LinkError> {
    let counted = match named {
        Some(client) => accepted.forwarded(client),
        None => accepted.unnamed(),
    };
    if counted.is_ok() {
        return Ok(());
    }
    let come_back = AcceptLimits::default().come_back;
    reject(&mut accepted.stream, come_back).await?;
    Err(LinkError::protocol(FULL))
}

/// Returns the names of the client's subprotocols.
fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let lines = lines.filter_map(|value| value.to_str().ok());
    lines.flat_map(|value| value.split(',')).map(str::trim)
}

/// Returns the first of the client's subprotocols that is known.
fn subprotocol(headers: &HeaderMap) -> Option<(&'static str, FrameCodec)> {
    offered(headers).find_map(|name| {
        let mut known = SUBPROTOCOLS.into_iter();
        known.find(|(known, _)| *known == name)
    })
}

/// Returns whether the client offers a protocol of gimlet, perhaps in a version that this server does
/// not know: without an encoding that both know, it would speak JSON to a connection of protobuf.
fn names_our_protocol(headers: &HeaderMap) -> bool {
    offered(headers).any(|name| name.starts_with("gimlet"))
}
