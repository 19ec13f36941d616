//! HTTP: the accept loop for both HTTP listeners, and the file service.
//!
//! `axum::serve` has no timers, so a client that sends nothing, or half a header, would hold a
//! connection for ever. This loop bounds connections, the first byte and the header. It knows no
//! route.

pub(crate) mod files;
mod folder;
mod kind;
mod upload;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use folder::Folder;

/// The first byte, and each request's header, must come within this.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections of one listener at a time; more wait in the system's queue.
const CONNECTIONS: usize = 512;
/// After a failed accept (no descriptors, usually) it waits this long.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Serves `router` until `stop`, then lets requests in progress finish; its connections are tasks
/// of `tracker`.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    tracker: TaskTracker,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Ok(place) = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (router, stop) = (router.clone(), stop.clone());
                tracker.spawn(async move {
                    connection(stream, peer, router, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    let mut byte = [0];
    let first = tokio::time::timeout(HEADER_TIMEOUT, stream.peek(&mut byte));
    let spoke = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        spoke = first => matches!(spoke, Ok(Ok(1))),
    };
    if !spoke {
        tracing::debug!(%peer, "http connection said nothing");
        return;
    }
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = std::pin::pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "http connection ended");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What a client that sends `bytes` and then nothing gets back before the end.
    async fn answer(bytes: &[u8]) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let router = Router::new().route("/", axum::routing::get(|| async { "hello" }));
        tracker.spawn(serve(listener, router, tracker.clone(), stop.clone()));
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(bytes).await.unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        stop.cancel();
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
}
