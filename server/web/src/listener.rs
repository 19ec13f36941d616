//! Connections of the HTTP listeners.
//!
//! `axum::serve` has no timers, so a client that sends nothing, or half a header, would hold a
//! connection forever. Here the first byte and the header have a deadline, and the rest has a least
//! speed. A client that is still sending when its request is refused gets the answer. It knows no
//! route.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use gimlet_listen::admission::ConnectionLimiter;
use gimlet_listen::wrong_port::ForeignProtocol;
use gimlet_listen::{
    AdmittedConnection, ConnectionProtocol, ListenerEntrance, StopTokens, development, refuse,
    socket,
};
use tokio_util::task::TaskTracker;

use crate::connection::{ConnectionRequests, HEADER_TIMEOUT};
use crate::min_rate::RequestDeadline;
use crate::stream_seat::ConnectionSeat;
use crate::web_socket::WebSocketCheck;

/// System buffer of an event stream on a listener that does not say.
const DEFAULT_STREAM_BUFFER_BYTES: usize = 64 << 10;

/// Explanation for clients that speak another protocol.
const WRONG_PORT_TEXT: &str = "This is one of gimlet's HTTP/1.1 ports. gRPC is on listen.grpc (by default \
    50100). TLS is set by tls.cert: docs/tls.md.";

/// Serves `router` over HTTP/1.1 until `ends.stop`, then lets requests in progress finish until
/// `ends.force_close`. Its connections are tasks of `tracker`.
pub async fn serve(
    entrance: ListenerEntrance,
    router: Router,
    tracker: TaskTracker,
    ends: StopTokens,
) {
    let server = HttpServer {
        router,
        clients: None,
        web_sockets: None,
        stream_buffer: DEFAULT_STREAM_BUFFER_BYTES,
    };
    server.accept(entrance, tracker, ends, false).await;
}

/// A server for clients: HTTP/1.1 and HTTP/2, with event streams and WebSockets.
#[derive(Debug)]
pub struct HttpServer {
    /// The routes.
    pub router: Router,
    /// Places of clients, against which event streams count.
    pub clients: Option<Arc<ConnectionLimiter>>,
    /// WebSockets at `/ws`, which count there, too.
    pub web_sockets: Option<WebSocketCheck>,
    /// Bytes of the system's buffer of an event stream, in each direction.
    pub stream_buffer: usize,
}

impl HttpServer {
    /// Serves until `ends.stop`, as [`serve`] does.
    pub async fn serve(self, entrance: ListenerEntrance, tracker: TaskTracker, ends: StopTokens) {
        self.accept(entrance, tracker, ends, true).await;
    }

    async fn accept(
        self,
        mut entrance: ListenerEntrance,
        tracker: TaskTracker,
        ends: StopTokens,
        speaks_http2: bool,
    ) {
        entrance.limits.handshake = HEADER_TIMEOUT;
        let stop = ends.stop.clone();
        let protocol = HttpProtocol {
            server: self,
            speaks_http2,
            tasks: tracker.clone(),
            ends,
        };
        gimlet_listen::accept(entrance, protocol, tracker, stop).await;
    }
}

/// Makes a development run refuse requests of strangers ([`development`]); other runs serve them.
pub fn direct_only(router: Router, development: bool) -> Router {
    if !development {
        return router;
    }
    router.layer(axum::middleware::from_fn(
        async |request: Request, next: Next| {
            let has = |name: &str| request.headers().contains_key(name);
            // HTTP/2 has the host in the address of the request.
            let authority = request.uri().authority().map(Authority::as_str);
            let header = request.headers().get(header::HOST);
            let host = authority.or(header.map(|it| it.to_str().unwrap_or_default()));
            match development::refusal(host, has) {
                Some(text) => (StatusCode::FORBIDDEN, format!("{text}\n")).into_response(),
                None => next.run(request).await,
            }
        },
    ))
}

/// Waits for a request's first bytes, then serves HTTP.
#[derive(Debug)]
struct HttpProtocol {
    server: HttpServer,
    speaks_http2: bool,
    tasks: TaskTracker,
    ends: StopTokens,
}

/// A connection whose version of HTTP is known.
#[derive(Debug)]
struct HttpConnection {
    accepted: AdmittedConnection,
    is_http2: bool,
}

impl ConnectionProtocol for HttpProtocol {
    type Opened = HttpConnection;

    async fn open(&self, mut accepted: AdmittedConnection) -> Option<HttpConnection> {
        let addr = accepted.addr;
        // Peeked, not read: hyper must see the same bytes again.
        let mut bytes = [0; development::PROXY_PREFIX_MAX];
        let Ok(read @ 1..) = accepted.stream.peek(&mut bytes).await else {
            tracing::debug!(%addr, "HTTP connection closed before its first byte");
            return None;
        };
        let first = bytes.get(..read).unwrap_or_default();
        let foreign = match ForeignProtocol::of(first) {
            Some(ForeignProtocol::Http2) if self.speaks_http2 => {
                return Some(HttpConnection {
                    accepted,
                    is_http2: true,
                });
            }
            Some(ForeignProtocol::Http1) | None => None,
            Some(foreign) => Some(foreign),
        };
        if let Some(foreign) = foreign {
            tracing::debug!(%addr, "{} on an HTTP port, refused", foreign.name());
            refuse(accepted.stream, &foreign.answer(WRONG_PORT_TEXT)).await;
            return None;
        }
        Some(HttpConnection {
            accepted,
            is_http2: false,
        })
    }

    async fn serve(&self, connection: HttpConnection) {
        let HttpConnection { accepted, is_http2 } = connection;
        let AdmittedConnection {
            stream,
            addr,
            permit,
        } = accepted;
        // A client that has left already is noticed by the first read.
        let _ = socket::prepare(stream.socket());
        let requests = ConnectionRequests {
            router: self.server.router.clone(),
            addr,
            seat: ConnectionSeat::new(permit, self.server.clients.clone()),
            pace: RequestDeadline::default(),
            web_sockets: self.server.web_sockets.clone(),
        };
        let served = if is_http2 {
            Box::pin(requests.serve_http2(stream, self.tasks.clone(), &self.ends)).await
        } else {
            requests
                .serve_http1(stream, self.server.stream_buffer, &self.ends)
                .await
        };
        if let Err(error) = served {
            tracing::debug!(%addr, %error, "HTTP connection ended");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use axum::Extension;
    use bytes::Bytes;
    use gimlet_http::RestartTimeLimit;
    use hyper::body::{Body, Frame};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Sleep;

    use super::*;

    /// Returns the answer to a client that sends `bytes` and then nothing.
    async fn answer(bytes: &[u8]) -> Vec<u8> {
        answer_of(bytes, false).await
    }

    async fn answer_of(bytes: &[u8], development: bool) -> Vec<u8> {
        let router = Router::new().route("/", axum::routing::get(|| async { "hello" }));
        answer_by(direct_only(router, development), bytes).await
    }

    async fn answer_by(router: Router, bytes: &[u8]) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (tracker, ends) = (TaskTracker::new(), StopTokens::default());
        let entrance = ListenerEntrance::plain(listener, ConnectionLimiter::new(1, 1));
        tracker.spawn(serve(entrance, router, tracker.clone(), ends.clone()));
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(bytes).await.unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        ends.stop.cancel();
        tracker.close();
        tracker.wait().await;
        got
    }

    /// A body of one line every 15 s, as an event stream is while nothing happens.
    struct SlowLines {
        restart: Option<RestartTimeLimit>,
        timer: Pin<Box<Sleep>>,
        left: u32,
    }

    impl Body for SlowLines {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.left -= 1;
            let next = self.timer.deadline() + Duration::from_secs(15);
            self.timer.as_mut().reset(next);
            if let Some(RestartTimeLimit(restart)) = &self.restart {
                restart();
            }
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"tick\n")))))
        }
    }

    /// Returns the lines that a client gets in five minutes.
    async fn slow_lines(restarts: bool) -> usize {
        let streamed = move |Extension(restart): Extension<RestartTimeLimit>| {
            let body = SlowLines {
                restart: restarts.then_some(restart),
                timer: Box::pin(tokio::time::sleep(Duration::from_secs(15))),
                left: 20,
            };
            std::future::ready(axum::body::Body::new(body))
        };
        let router = Router::new().route("/", axum::routing::get(streamed));
        let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let got = answer_by(router, request).await;
        String::from_utf8(got).unwrap().matches("tick").count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_restarts_its_time_limit_lives_on() {
        assert_eq!(slow_lines(true).await, 20);
        assert!(slow_lines(false).await < 5, "any other answer has a minute");
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_or_half_a_header_is_not_waited_for() {
        assert_eq!(answer(b"").await, b"");
        let half = answer(b"GET / HTTP/1.1\r\nHost: x").await;
        assert!(!half.starts_with(b"HTTP/1.1 200"));
        let whole = answer(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(
            whole.ends_with(b"hello"),
            "and an idle connection is closed in the end"
        );
    }

    #[tokio::test]
    async fn grpc_and_tls_get_an_answer_that_names_the_right_port() {
        let received = answer(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
        assert!(String::from_utf8_lossy(&received).contains("gRPC is on listen.grpc"));
        let received = answer(&[0x16, 0x03, 0x01, 0x00, 0x05, 1, 0, 0, 1, 0]).await;
        assert_eq!(received.first(), Some(&0x15), "an alert of TLS");
    }

    #[tokio::test(start_paused = true)]
    async fn a_development_run_refuses_what_came_through_a_proxy() {
        for header in ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"] {
            let request =
                format!("GET / HTTP/1.1\r\nHost: localhost\r\n{header}: 192.0.2.1\r\n\r\n");
            let refused = String::from_utf8(answer_of(request.as_bytes(), true).await).unwrap();
            assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
            assert!(refused.contains("development run"), "{refused}");
            let served = answer_of(request.as_bytes(), false).await;
            assert!(served.ends_with(b"hello"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_development_run_refuses_a_page_whose_name_leads_here() {
        let request = b"GET / HTTP/1.1\r\nHost: evil.example:8085\r\n\r\n";
        let refused = String::from_utf8(answer_of(request, true).await).unwrap();
        assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
        assert!(refused.contains("evil.example:8085"), "{refused}");
        assert!(answer_of(request, false).await.ends_with(b"hello"));
        let own = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8085\r\n\r\n";
        assert!(answer_of(own, true).await.ends_with(b"hello"));
    }

    /// Most clients send the whole body before they read. Without the drain, the close resets the
    /// connection while they send, and they never see the answer.
    #[tokio::test]
    async fn a_client_that_is_still_sending_gets_the_refusal() {
        const BODY_CHUNKS: usize = 256;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (tracker, ends) = (TaskTracker::new(), StopTokens::default());
        let refuse = || std::future::ready(StatusCode::UNAUTHORIZED);
        let router = Router::new().route("/", axum::routing::post(refuse));
        let entrance = ListenerEntrance::plain(listener, ConnectionLimiter::new(1, 1));
        tracker.spawn(serve(entrance, router, tracker.clone(), ends.clone()));
        let mut client = TcpStream::connect(addr).await.unwrap();
        // More than the buffers of both sockets hold.
        let chunk = vec![0; 64 << 10];
        let length = BODY_CHUNKS * chunk.len();
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..BODY_CHUNKS {
            client.write_all(&chunk).await.unwrap();
        }
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        drop(client);
        ends.stop.cancel();
        tracker.close();
        tracker.wait().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_line_is_refused_with_the_reason() {
        let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let refused = String::from_utf8(answer(line).await).unwrap();
        assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
        assert!(refused.contains("PROXY protocol"), "{refused}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_the_answer_makes_room_for_others() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (tracker, ends) = (TaskTracker::new(), StopTokens::default());
        let router = Router::new().route("/", axum::routing::get(|| async { vec![0; 64 << 20] }));
        let places = ConnectionLimiter::new(1, 1);
        let entrance = ListenerEntrance::plain(listener, Arc::clone(&places));
        let serving = serve(entrance, router, tracker.clone(), ends.clone());
        tracker.spawn(serving);
        let mut client = TcpStream::connect(addr).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut first = [0];
        client.read_exact(&mut first).await.unwrap();
        let mut other = TcpStream::connect(addr).await.unwrap();
        let refused = matches!(other.read(&mut first).await, Ok(0) | Err(_));
        assert!(refused, "there is one place");
        tokio::time::timeout(Duration::from_secs(90), async {
            while places.enter(addr).is_err() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        })
        .await
        .unwrap();
        ends.stop.cancel();
        tracker.close();
        tracker.wait().await;
    }
}
