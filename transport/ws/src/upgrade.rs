//! Upgrades HTTP requests to WebSockets, and answers the requests that cannot be upgraded.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use gimlet_listen::forwarded::ForwardedHeaders;
use gimlet_listen::origins::AllowedOrigins;
use gimlet_listen::wrong_port::ForeignProtocol;
use gimlet_listen::{AcceptLimits, AdmittedConnection, ClientStream, development};
use gimlet_transport::LinkError;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::error::{Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};

/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// The path of the WebSocket; a trailing slash is allowed.
const WS_PATH: &str = "/ws";

/// Subprotocols that are confirmed to a client that offers them: a browser that offers some
/// continues only if one is chosen. All mean the same; a client of gim offers none.
const SUBPROTOCOLS: [&str; 2] = ["gimlet", "gim"];
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
    /// Set if requests that came through a proxy are refused, as in a development run.
    pub(crate) development: bool,
    /// Proxies that are believed when they name a client's address.
    pub(crate) forwarding: ForwardedHeaders,
}

/// A request that was answered with 101.
pub(crate) struct UpgradedRequest {
    /// The query of the request's URL.
    pub(crate) query: Option<String>,
    /// Bytes that the client sent right after the request.
    pub(crate) tail: Vec<u8>,
}

/// Reads the request and answers it. A request that cannot be upgraded gets an HTTP answer that
/// says what would be right.
pub(crate) async fn upgrade(
    accepted: &mut AdmittedConnection,
    rules: &UpgradeRules,
) -> Result<UpgradedRequest, LinkError> {
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
    let has = |name: &str| request.headers().contains_key(name);
    if rules.development
        && let Some(header) = development::forwarding_header(has)
    {
        let text = development::refusal(header);
        return refuse(stream, StatusCode::FORBIDDEN, &text).await;
    }
    let name = rules.forwarding.header.name();
    let lines = request.headers().get_all(name).iter();
    let lines = lines.map(|line| line.to_str().unwrap_or_default());
    if let Some(client) = rules.forwarding.client(accepted.addr.ip(), lines) {
        count_forwarded(accepted, client).await?;
    }
    let stream = &mut accepted.stream;
    let path = request.uri().path();
    if path.strip_suffix('/').unwrap_or(path) != WS_PATH {
        let text = "unknown path: the WebSocket is at /ws";
        return refuse(stream, StatusCode::NOT_FOUND, text).await;
    }
    let mut response = match create_response(&request) {
        Ok(response) => response,
        Err(error) => {
            let text = format!("{error}: connect with a WebSocket client");
            return refuse(stream, StatusCode::UPGRADE_REQUIRED, &text).await;
        }
    };
    let text = |name| {
        request
            .headers()
            .get(name)
            .map(|it| it.to_str().unwrap_or(""))
    };
    if !rules
        .origins
        .allow(text(header::ORIGIN), text(header::HOST))
    {
        let text = "pages of this Origin may not connect; add it to http.origins of the server";
        return refuse(stream, StatusCode::FORBIDDEN, text).await;
    }
    if let Some(name) = subprotocol(request.headers()) {
        let name = HeaderValue::from_static(name);
        let headers = response.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, name);
    }
    let mut answer = Vec::new();
    write_response(&mut answer, &response)
        .map_err(|error| LinkError::protocol(error.to_string()))?;
    stream.write_all(&answer).await?;
    stream.flush().await?;
    Ok(UpgradedRequest {
        query: request.uri().query().map(str::to_owned),
        tail: head.split_off(size),
    })
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

/// Counts the connection for the client that a trusted proxy has named, or answers that the
/// connection limit is reached.
async fn count_forwarded(accepted: &mut AdmittedConnection, ip: IpAddr) -> Result<(), LinkError> {
    if accepted.forwarded(ip).is_ok() {
        return Ok(());
    }
    let come_back = AcceptLimits::default().come_back;
    reject(&mut accepted.stream, come_back).await?;
    Err(LinkError::protocol(FULL))
}

/// Returns the first of the client's subprotocols that is known.
fn subprotocol(headers: &HeaderMap) -> Option<&'static str> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|name| SUBPROTOCOLS.into_iter().find(|known| *known == name.trim()))
}
