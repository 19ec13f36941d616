//! Connections of the HTTP listeners.
//!
//! `axum::serve` has no timers, so a client that sends nothing, or half a header, would hold a
//! connection forever. Here the first byte and the header have a deadline, and the rest has a least
//! speed. It knows no route.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use gimlet_listen::wrong_port::ForeignProtocol;
use gimlet_listen::{
    AdmittedConnection, ConnectionProtocol, ListenerEntrance, StopTokens, development, refuse,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio_util::task::TaskTracker;

use crate::min_rate::{PacedStream, RequestDeadline};

/// Time limit for the first byte, and for the header of each request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Explanation for clients that speak another protocol.
const WRONG_PORT_TEXT: &str = "This is one of gimlet's HTTP/1.1 ports. gRPC is on listen.grpc (by default \
    50100). TLS is set by tls.cert: docs/tls.md.";

/// Serves `router` until `ends.stop`, then lets requests in progress finish until `ends.cut`. Its
/// connections are tasks of `tracker`.
pub async fn serve(
    mut entrance: ListenerEntrance,
    router: Router,
    tracker: TaskTracker,
    ends: StopTokens,
) {
    entrance.limits.handshake = HEADER_TIMEOUT;
    let stop = ends.stop.clone();
    let protocol = HttpProtocol { router, ends };
    gimlet_listen::accept(entrance, protocol, tracker, stop).await;
}

/// Makes a development run refuse requests that came through a proxy; other runs serve them.
pub fn direct_only(router: Router, development: bool) -> Router {
    if !development {
        return router;
    }
    router.layer(axum::middleware::from_fn(
        async |request: Request, next: Next| {
            let has = |name: &str| request.headers().contains_key(name);
            match development::forwarding_header(has) {
                Some(header) => {
                    let text = format!("{}\n", development::refusal(header));
                    (StatusCode::FORBIDDEN, text).into_response()
                }
                None => next.run(request).await,
            }
        },
    ))
}

/// The address that a request's connection came from: the client's, or that of a proxy which speaks
/// HTTP and names the client in a header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerAddr(pub(crate) SocketAddr);

/// Waits for a request's first bytes, then serves HTTP/1.1.
#[derive(Debug)]
struct HttpProtocol {
    router: Router,
    ends: StopTokens,
}

impl ConnectionProtocol for HttpProtocol {
    type Opened = AdmittedConnection;

    async fn open(&self, mut accepted: AdmittedConnection) -> Option<AdmittedConnection> {
        let addr = accepted.addr;
        // Peeked, not read: hyper must see the same bytes again.
        let mut bytes = [0; development::PROXY_PREFIX_MAX];
        let Ok(read @ 1..) = accepted.stream.peek(&mut bytes).await else {
            tracing::debug!(%addr, "HTTP connection closed before its first byte");
            return None;
        };
        let first = bytes.get(..read).unwrap_or_default();
        let foreign = ForeignProtocol::of(first);
        if let Some(
            foreign @ (ForeignProtocol::Http2 | ForeignProtocol::Tls | ForeignProtocol::Proxy),
        ) = foreign
        {
            tracing::debug!(%addr, "{} on an HTTP port, refused", foreign.name());
            refuse(accepted.stream, &foreign.answer(WRONG_PORT_TEXT)).await;
            return None;
        }
        Some(accepted)
    }

    async fn serve(&self, accepted: AdmittedConnection) {
        let AdmittedConnection {
            stream,
            addr,
            permit,
        } = accepted;
        let StopTokens {
            stop,
            force_close: cut,
        } = &self.ends;
        let pace = RequestDeadline::default();
        let paced = PacedStream::new(stream, pace.clone());
        let router = self.router.clone();
        let router = router.layer(axum::middleware::map_request(
            move |mut request: Request| {
                pace.restart();
                request.extensions_mut().insert(PeerAddr(addr));
                std::future::ready(request)
            },
        ));
        let service = TowerToHyperService::new(router);
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(paced), service);
        let mut served = std::pin::pin!(served);
        let result = tokio::select! {
            result = served.as_mut() => result,
            () = stop.cancelled() => {
                served.as_mut().graceful_shutdown();
                // A slow upload, or a client that does not read, has time until the forced close.
                match cut.run_until_cancelled(served).await {
                    Some(result) => result,
                    None => return tracing::debug!(%addr, "HTTP connection cut off"),
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(%addr, %error, "HTTP connection ended");
        }
        drop(permit);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gimlet_listen::admission::ConnectionLimiter;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Returns the answer to a client that sends `bytes` and then nothing.
    async fn answer(bytes: &[u8]) -> Vec<u8> {
        answer_of(bytes, false).await
    }

    async fn answer_of(bytes: &[u8], development: bool) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (tracker, ends) = (TaskTracker::new(), StopTokens::default());
        let router = Router::new().route("/", axum::routing::get(|| async { "hello" }));
        let router = direct_only(router, development);
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
        let said = answer(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
        assert!(String::from_utf8_lossy(&said).contains("gRPC is on listen.grpc"));
        let said = answer(&[0x16, 0x03, 0x01, 0x00, 0x05, 1, 0, 0, 1, 0]).await;
        assert_eq!(said.first(), Some(&0x15), "an alert of TLS");
    }

    #[tokio::test(start_paused = true)]
    async fn a_development_run_refuses_what_came_through_a_proxy() {
        for header in ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"] {
            let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{header}: 192.0.2.1\r\n\r\n");
            let refused = String::from_utf8(answer_of(request.as_bytes(), true).await).unwrap();
            assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
            assert!(refused.contains("development run"), "{refused}");
            let served = answer_of(request.as_bytes(), false).await;
            assert!(served.ends_with(b"hello"));
        }
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
