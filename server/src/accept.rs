//! Accept loop of the gRPC listeners: limits connections and the time until the first bytes.
//!
//! tonic's own loop accepts without a bound, waits forever for a client that sends nothing, and
//! spins when no file descriptors are left. This module knows no service.

use std::convert::Infallible;
use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use gimlet_transport::admission::{Admission, Place};
use gimlet_transport::development;
use gimlet_transport::wrong_port::Foreign;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::api::answers::{ConnectionUnread, Unread};
use crate::http::refuse;

/// First bytes of every HTTP/2 client (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Time limit for the preface.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(5);
/// First and longest pause of the loop after a failed accept (no file descriptors left, for
/// example).
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));
/// Explanation for clients that speak another protocol.
const WRONG_PORT: &str = "This is one of gimlet's gRPC ports: HTTP/2 without TLS. WebSocket is on \
    listen.ws (by default 8081, path /ws), files on listen.http (8085), health and metrics on \
    listen.ops (8086). TLS is a proxy's: docs/proxies.md.";
/// Accepted connections that may wait for tonic.
const WAITING: usize = 64;
/// A client that leaves answers unread for this long, and takes less than `MIN_TAKEN` bytes
/// meanwhile, is gone or holds them on purpose. The HTTP/2 pings make this process check once a
/// minute.
const MAX_UNREAD_TIME: Duration = Duration::from_mins(1);
/// Bytes that a client must take in `MAX_UNREAD_TIME`: a kilobyte a second. A phone on the slowest
/// network takes more.
const MIN_TAKEN: usize = 60 << 10;

/// The two stages in which connections end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    /// Graceful stop: nothing more is accepted.
    pub(crate) stop: CancellationToken,
    /// Forced close: open connections are broken off.
    pub(crate) cut: CancellationToken,
}

/// Accepts on a task of `tasks` and yields the connections that speak HTTP/2.
pub(crate) fn incoming(
    listener: TcpListener,
    admission: Arc<Admission>,
    tasks: &TaskTracker,
    ends: Ends,
    unread: Arc<Unread>,
) -> impl Stream<Item = Result<Held, Infallible>> + use<> {
    let (ready, mut taken) = mpsc::channel(WAITING);
    let handed_on = HandedOn { ready, unread };
    tasks.spawn(accept(listener, admission, tasks.clone(), ends, handed_on));
    futures_util::stream::poll_fn(move |cx| taken.poll_recv(cx).map(|held| held.map(Ok)))
}

/// Destination of connections that speak HTTP/2, with the listener's count of unread answers.
#[derive(Clone, Debug)]
struct HandedOn {
    ready: mpsc::Sender<Held>,
    unread: Arc<Unread>,
}

async fn accept(
    listener: TcpListener,
    admission: Arc<Admission>,
    tasks: TaskTracker,
    ends: Ends,
    handed_on: HandedOn,
) {
    let mut rest = BACK_OFF.0;
    loop {
        let accepted = tokio::select! {
            biased;
            // The stop is polled first, so that a busy listener cannot delay it.
            () = ends.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                rest = BACK_OFF.0;
                match admission.enter(peer) {
                    Ok(place) => {
                        let (ends, handed_on) = (ends.clone(), handed_on.clone());
                        tasks.spawn(hear(stream, peer, place, ends, handed_on));
                    }
                    Err(full) => tracing::debug!(%peer, ?full, "gRPC connection limit reached"),
                }
            }
            Err(error) => {
                // A failed accept leaves the connection in the system's queue: without a pause the
                // loop would spin.
                gimlet_core::warn_rated!(%error, "accept failed on a gRPC listener, retrying");
                tokio::select! {
                    () = ends.stop.cancelled() => return,
                    () = tokio::time::sleep(rest) => {}
                }
                rest = (rest * 2).min(BACK_OFF.1);
            }
        }
    }
}

/// Waits for the HTTP/2 preface, then hands the connection to tonic.
async fn hear(
    mut stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    ends: Ends,
    handed_on: HandedOn,
) {
    let mut said = [0; PREFACE.len()];
    // A stop does not wait for the preface: without it the client has no call in progress.
    let heard = tokio::select! {
        biased;
        () = ends.stop.cancelled() => return,
        heard = tokio::time::timeout(PREFACE_TIMEOUT, preface(&mut stream, &mut said)) => heard,
    };
    let read = match heard {
        Ok(Ok(read)) => read,
        Ok(Err(_)) | Err(_) => 0,
    };
    let first = said.get(..read).unwrap_or_default();
    if development::begins_with_proxy(first) {
        tracing::debug!(%peer, "gRPC connection began with the PROXY protocol, refused");
        return crate::http::refuse_proxy(stream).await;
    }
    if first != PREFACE {
        tracing::debug!(%peer, "gRPC connection did not start with the HTTP/2 preface");
        if let Some(foreign @ (Foreign::Http1 | Foreign::Tls)) = Foreign::of(first) {
            refuse(stream, &foreign.answer(WRONG_PORT)).await;
        }
        return;
    }
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY not set");
    }
    // The preface is consumed from the socket, and tonic expects it: `poll_read` replays it.
    let held = Held {
        stream,
        unread: PREFACE,
        cut: Box::pin(ends.cut.clone().cancelled_owned()),
        answers: ConnectionUnread::new(handed_on.unread),
        unread_since: Instant::now(),
        taken: 0,
        _place: place,
    };
    tokio::select! {
        // After a stop tonic takes no more connections, so a full queue must not block this task.
        () = ends.stop.cancelled() => {}
        _ = handed_on.ready.send(held) => {}
    }
}

/// Reads the preface, or enough of something else to tell that it is not the preface. Returns the
/// number of bytes read.
async fn preface(stream: &mut TcpStream, said: &mut [u8; PREFACE.len()]) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = said.get_mut(read..).filter(|rest| !rest.is_empty()) {
        let more = stream.read(rest).await?;
        read += more;
        let first = said.get(..read).unwrap_or_default();
        let is_foreign = !PREFACE.starts_with(first) && read >= development::PROXY_PREFIX_MAX;
        if more == 0 || is_foreign {
            break;
        }
    }
    Ok(read)
}

/// A connection and its permit.
#[derive(Debug)]
pub(crate) struct Held {
    stream: TcpStream,
    /// Rest of the preface, replayed to the reader that expects it.
    unread: &'static [u8],
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Answers that the client has not read, the time since when there are any, and the bytes that
    /// the client has taken since then.
    answers: Arc<ConnectionUnread>,
    unread_since: Instant,
    taken: usize,
    _place: Place,
}

/// Facts about its connection that each call gets.
#[derive(Clone, Debug)]
pub(crate) struct AcceptedInfo {
    pub(crate) tcp: TcpConnectInfo,
    pub(crate) unread: Arc<ConnectionUnread>,
}

impl Held {
    /// Ends a connection whose client leaves its answers unread.
    fn check_unread(&mut self, now: Instant) -> io::Result<()> {
        if !self.answers.is_waited_for() {
            (self.unread_since, self.taken) = (now, 0);
        } else if now - self.unread_since >= MAX_UNREAD_TIME {
            if self.taken < MIN_TAKEN {
                tracing::debug!("gRPC connection closed: its answers are not read");
                return Err(io::ErrorKind::TimedOut.into());
            }
            (self.unread_since, self.taken) = (now, 0);
        }
        Ok(())
    }

    /// Turns a pending poll into an error once the forced close was ordered.
    ///
    /// The socket is polled before the token, so that both can wake the task.
    fn or_cut<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_pending() && self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        polled
    }
}

impl Connected for Held {
    type ConnectInfo = AcceptedInfo;

    fn connect_info(&self) -> AcceptedInfo {
        AcceptedInfo {
            tcp: self.stream.connect_info(),
            unread: Arc::clone(&self.answers),
        }
    }
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let (now, later) = self.unread.split_at(self.unread.len().min(buf.remaining()));
            buf.put_slice(now);
            self.unread = later;
            return Poll::Ready(Ok(()));
        }
        // Each read is a check: the pings poll an otherwise quiet connection once a minute.
        self.check_unread(Instant::now())?;
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.or_cut(cx, polled)
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(taken)) = &polled {
            self.taken = self.taken.saturating_add(*taken);
        }
        self.or_cut(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        if let Poll::Ready(Ok(taken)) = &polled {
            self.taken = self.taken.saturating_add(*taken);
        }
        self.or_cut(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.or_cut(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.or_cut(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    struct Door {
        addr: SocketAddr,
        ends: Ends,
        tasks: TaskTracker,
        incoming: Pin<Box<dyn Stream<Item = Result<Held, Infallible>>>>,
    }

    async fn door(places: usize) -> Door {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let (ends, tasks) = (Ends { stop, cut }, TaskTracker::new());
        let admission = Admission::new(places, 1);
        let incoming = Box::pin(incoming(
            listener,
            admission,
            &tasks,
            ends.clone(),
            Arc::default(),
        ));
        Door {
            addr,
            ends,
            tasks,
            incoming,
        }
    }

    async fn said(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    async fn is_closed(mut stream: TcpStream) -> bool {
        matches!(stream.read(&mut [0]).await, Ok(0) | Err(_))
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_begin_http2_is_closed_and_leaves_the_place() {
        let mut door = door(1).await;
        for bytes in [
            &b""[..],
            &PREFACE[..10],
            b"\x01what is this? no preface, for sure",
        ] {
            assert!(is_closed(said(door.addr, bytes).await).await);
        }
        let _client = said(door.addr, PREFACE).await;
        let mut held = door.incoming.next().await.unwrap().unwrap();
        let mut preface = [0; PREFACE.len()];
        held.read_exact(&mut preface).await.unwrap();
        assert_eq!(preface, *PREFACE, "and it is there to be read");
        assert!(held.connect_info().tcp.remote_addr().is_some());
        // The only permit is taken.
        assert!(is_closed(said(door.addr, PREFACE).await).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_line_is_refused_with_the_reason() {
        let door = door(1).await;
        let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";
        let mut proxy = said(door.addr, line).await;
        proxy.shutdown().await.unwrap();
        let mut answer = String::new();
        proxy.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("PROXY protocol"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a3_who_leaves_answers_unread_for_a_minute_is_cut() {
        let mut door = door(1).await;
        let _client = said(door.addr, PREFACE).await;
        let mut held = door.incoming.next().await.unwrap().unwrap();
        let now = Instant::now();
        let minutes = |n: u64| now + Duration::from_mins(n);
        // A connection without answers is not unread, however quiet it is.
        held.check_unread(minutes(10)).unwrap();
        let _answer = held.answers.hold(1_000).unwrap();
        held.check_unread(minutes(10)).unwrap();
        // Slow, but reading.
        held.taken = MIN_TAKEN;
        held.check_unread(minutes(11)).unwrap();
        held.taken = MIN_TAKEN - 1;
        held.check_unread(minutes(12) - Duration::from_secs(1))
            .unwrap();
        let ended = held.check_unread(minutes(12)).unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_browser_is_told_that_this_is_not_its_port() {
        let door = door(1).await;
        for request in [
            &b"GET / HTTP/1.0\r\n\r\n"[..],
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ] {
            let mut client = said(door.addr, request).await;
            let mut text = String::new();
            client.read_to_string(&mut text).await.unwrap();
            assert!(text.starts_with("HTTP/1.1 400"), "{text}");
            assert!(
                text.contains("gRPC") && text.contains("listen.ws"),
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn a_cut_ends_what_waits() {
        let mut door = door(1).await;
        let _client = said(door.addr, PREFACE).await;
        let mut held = door.incoming.next().await.unwrap().unwrap();
        door.ends.stop.cancel();
        door.tasks.close();
        door.tasks.wait().await;
        let mut bytes = Vec::new();
        let (read, ()) = tokio::join!(held.read_to_end(&mut bytes), async {
            door.ends.cut.cancel();
        });
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
