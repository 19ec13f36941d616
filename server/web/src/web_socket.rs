//! WebSockets on an HTTP listener.
//!
//! A request for `/ws` leaves hyper, as an event stream does: its socket becomes the connection of a
//! client, as on the WebSocket listener, and counts against `limits.max_connections`. This crate knows
//! neither frames nor sessions; a [`WebSocketCheck`] brings both.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use gimlet_http::StreamPermit;
use gimlet_listen::ClientStream;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header, request};

/// Seconds after which a client that was refused at the connection limit should reconnect.
const FULL_RETRY_SECONDS: u16 = 5;

/// The socket of a request that was answered with 101.
#[derive(Debug)]
pub struct UpgradedSocket {
    /// The socket.
    pub stream: ClientStream,
    /// Bytes that the client sent right after the request.
    pub tail: Vec<u8>,
    /// The client's address.
    pub addr: SocketAddr,
}

/// The service of one connection, until its end.
pub type ServeSocket =
    Box<dyn FnOnce(UpgradedSocket) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A request that is upgraded.
pub struct WebSocketUpgrade {
    /// The answer, with status 101.
    pub response: http::Response<()>,
    /// The client that a trusted proxy has named.
    pub client: Option<IpAddr>,
    /// The service of the connection.
    pub serve: ServeSocket,
}

impl fmt::Debug for WebSocketUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketUpgrade")
            .field("response", &self.response)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// A function that checks a request of a peer: it is upgraded, or refused with this status and text.
type CheckRequest =
    dyn Fn(IpAddr, &Request<()>) -> Result<WebSocketUpgrade, (StatusCode, String)> + Send + Sync;

/// The check of WebSocket requests. Cheap to clone.
#[derive(Clone)]
pub struct WebSocketCheck(pub Arc<CheckRequest>);

impl fmt::Debug for WebSocketCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebSocketCheck")
    }
}

/// An upgrade whose answer is to be written.
#[derive(Debug)]
pub(crate) struct AdmittedUpgrade {
    upgrade: WebSocketUpgrade,
    addr: SocketAddr,
    permit: StreamPermit,
}

impl WebSocketCheck {
    /// Returns whether a request is for a WebSocket.
    pub(crate) fn is_for(method: &Method, uri: &Uri) -> bool {
        let path = uri.path();
        *method == Method::GET && path.strip_suffix('/').unwrap_or(path) == "/ws"
    }

    /// Checks a request, and takes a client's place for it by `admit`.
    pub(crate) fn admit<E>(
        &self,
        peer: SocketAddr,
        request: request::Parts,
        admit: impl FnOnce(SocketAddr) -> Result<StreamPermit, E>,
    ) -> Result<AdmittedUpgrade, Box<Response>> {
        let request = Request::from_parts(request, ());
        let upgrade = (self.0)(peer.ip(), &request).map_err(|(status, text)| {
            let mut response = plain(status, &text);
            if status == StatusCode::UPGRADE_REQUIRED {
                let headers = response.headers_mut();
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                let version = HeaderValue::from_static("13");
                headers.insert(header::SEC_WEBSOCKET_VERSION, version);
            }
            Box::new(response)
        })?;
        let addr = upgrade.client.map_or(peer, |ip| SocketAddr::new(ip, 0));
        let permit = admit(addr).map_err(|_| {
            let text = "the server has as many connections as it may; come back later";
            let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, text);
            let after = HeaderValue::from(FULL_RETRY_SECONDS);
            response.headers_mut().insert(header::RETRY_AFTER, after);
            Box::new(response)
        })?;
        Ok(AdmittedUpgrade {
            upgrade,
            addr,
            permit,
        })
    }
}

fn plain(status: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

impl AdmittedUpgrade {
    /// Encodes the head of the answer.
    pub(crate) fn answer(&self) -> Vec<u8> {
        let mut head = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
        for (name, value) in self.upgrade.response.headers() {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    /// Serves the connection until its end.
    pub(crate) async fn serve(self, stream: ClientStream, tail: Vec<u8>) {
        let Self {
            upgrade,
            addr,
            permit,
        } = self;
        (upgrade.serve)(UpgradedSocket { stream, tail, addr }).await;
        drop(permit);
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use gimlet_listen::admission::ConnectionLimiter;
    use gimlet_listen::{ListenerEntrance, StopTokens};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::HttpServer;

    /// Upgrades requests with a key, and sends back all that a client sends.
    fn echo() -> WebSocketCheck {
        WebSocketCheck(Arc::new(|_, request| {
            if !request.headers().contains_key(header::SEC_WEBSOCKET_KEY) {
                let text = "connect with a WebSocket client".to_owned();
                return Err((StatusCode::UPGRADE_REQUIRED, text));
            }
            let response = http::Response::builder()
                .status(StatusCode::SWITCHING_PROTOCOLS)
                .header(header::UPGRADE, "websocket");
            Ok(WebSocketUpgrade {
                response: response.body(()).unwrap(),
                client: None,
                serve: Box::new(|socket| {
                    Box::pin(async move {
                        let UpgradedSocket {
                            mut stream, tail, ..
                        } = socket;
                        stream.write_all(&tail).await.unwrap();
                        let (mut read, mut write) = tokio::io::split(stream);
                        tokio::io::copy(&mut read, &mut write).await.unwrap();
                    })
                }),
            })
        }))
    }

    /// Returns what the server sends up to these words.
    async fn read_to(client: &mut TcpStream, words: &str) -> String {
        let mut got = String::new();
        while !got.ends_with(words) {
            let byte = client.read_u8().await;
            got.push(char::from(
                byte.unwrap_or_else(|_| panic!("the end after {got:?}")),
            ));
        }
        got
    }

    #[tokio::test]
    async fn a_web_socket_leaves_hyper_and_its_http_place() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (tasks, ends) = (TaskTracker::new(), StopTokens::default());
        let (http, clients) = (ConnectionLimiter::new(1, 1), ConnectionLimiter::new(1, 1));
        let server = HttpServer {
            router: Router::new().route("/", get(|| async { "hello" })),
            clients: Some(Arc::clone(&clients)),
            web_sockets: Some(echo()),
            stream_buffer: 64 << 10,
        };
        let entrance = ListenerEntrance::plain(listener, Arc::clone(&http));
        tasks.spawn(server.serve(entrance, tasks.clone(), ends.clone()));
        let mut client = TcpStream::connect(addr).await.unwrap();
        // A request before it, as a proxy with kept connections sends, and bytes right after it.
        let requests = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\
            GET /ws HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key: k\r\n\r\ntail";
        client.write_all(requests).await.unwrap();
        let hello = read_to(&mut client, "hello").await;
        assert!(hello.starts_with("HTTP/1.1 200"), "{hello}");
        let answer = read_to(&mut client, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        assert!(answer.contains("upgrade: websocket\r\n"), "{answer}");
        read_to(&mut client, "tail").await;
        client.write_all(b"more").await.unwrap();
        assert_eq!(read_to(&mut client, "more").await, "more");
        assert!(http.enter(addr).is_ok(), "the HTTP place is free");
        assert!(clients.enter(addr).is_err(), "it counts as a client");
        for (key, status, header) in [
            ("", "426", "upgrade: websocket"),
            ("Sec-WebSocket-Key: k\r\n", "503", "retry-after: 5"),
        ] {
            let mut other = TcpStream::connect(addr).await.unwrap();
            let request = format!("GET /ws HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{key}\r\n");
            other.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            other.read_to_string(&mut answer).await.unwrap();
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{answer}"
            );
            assert!(answer.to_ascii_lowercase().contains(header), "{answer}");
        }
        drop(client);
        ends.stop.cancel();
        tasks.close();
        tasks.wait().await;
        assert!(clients.enter(addr).is_ok());
    }
}
