//! Connections of the gRPC listeners, from the accept loop to tonic: HTTP/2's preface first.
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
use gimlet_listen::admission::ConnectionPermit;
use gimlet_listen::wrong_port::ForeignProtocol;
use gimlet_listen::{
    AdmittedConnection, ClientStream as Socket, ConnectionProtocol, ListenerEntrance, StopTokens,
    development, refuse,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tokio_util::task::TaskTracker;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::unread_answers::{ConnectionUnread, ListenerUnread};

/// First bytes of every HTTP/2 client (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Time limit for the preface.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(5);
/// Explanation for clients that speak another protocol.
const WRONG_PORT_TEXT: &str = "This is one of gimlet's gRPC ports: HTTP/2. WebSocket is on listen.ws (by \
    default 8081, path /ws), files on listen.http (8085), health and metrics on listen.ops (8086). \
    TLS is set by tls.cert: docs/tls.md.";
/// Accepted connections that may wait for tonic.
const ACCEPTED_QUEUE_LEN: usize = 64;
/// A client that leaves answers unread for this long, and takes less than `MIN_TAKEN_BYTES` bytes
/// meanwhile, is gone or holds them on purpose. The HTTP/2 pings make this process check once a
/// minute.
const MAX_UNREAD_TIME: Duration = Duration::from_mins(1);
/// Bytes that a client must take in `MAX_UNREAD_TIME`: a kilobyte a second. A phone on the slowest
/// network takes more.
const MIN_TAKEN_BYTES: usize = 60 << 10;

/// Accepts on a task of `tasks` and yields the connections that speak HTTP/2.
pub(crate) fn incoming(
    mut entrance: ListenerEntrance,
    tasks: &TaskTracker,
    ends: StopTokens,
    unread: Arc<ListenerUnread>,
) -> impl Stream<Item = Result<AcceptedConnection, Infallible>> + use<> {
    entrance.limits.handshake = PREFACE_TIMEOUT;
    let (ready, mut taken) = mpsc::channel(ACCEPTED_QUEUE_LEN);
    let stop = ends.stop.clone();
    let protocol = GrpcProtocol {
        ready,
        unread,
        ends,
    };
    tasks.spawn(gimlet_listen::accept(
        entrance,
        protocol,
        tasks.clone(),
        stop,
    ));
    futures_util::stream::poll_fn(move |cx| taken.poll_recv(cx).map(|held| held.map(Ok)))
}

/// Waits for HTTP/2's preface and hands connections to tonic.
#[derive(Debug)]
struct GrpcProtocol {
    ready: mpsc::Sender<AcceptedConnection>,
    unread: Arc<ListenerUnread>,
    ends: StopTokens,
}

impl ConnectionProtocol for GrpcProtocol {
    /// tonic serves what is open.
    type Opened = Infallible;

    async fn open(&self, accepted: AdmittedConnection) -> Option<Infallible> {
        let AdmittedConnection {
            mut stream,
            addr,
            permit,
        } = accepted;
        let mut bytes = [0; HTTP2_PREFACE.len()];
        let read = preface(&mut stream, &mut bytes).await.ok()?;
        let first = bytes.get(..read).unwrap_or_default();
        if first != HTTP2_PREFACE {
            tracing::debug!(%addr, "gRPC connection did not start with the HTTP/2 preface");
            if let Some(
                foreign @ (ForeignProtocol::Http1 | ForeignProtocol::Tls | ForeignProtocol::Proxy),
            ) = ForeignProtocol::of(first)
            {
                refuse(stream, &foreign.answer(WRONG_PORT_TEXT)).await;
            }
            return None;
        }
        if let Err(error) = stream.socket().set_nodelay(true) {
            tracing::debug!(%addr, %error, "TCP_NODELAY not set");
        }
        // The preface is consumed from the socket, and tonic expects it: `poll_read` replays it.
        let held = AcceptedConnection {
            stream,
            addr,
            unread: HTTP2_PREFACE,
            force_close: Box::pin(self.ends.force_close.clone().cancelled_owned()),
            answers: ConnectionUnread::new(Arc::clone(&self.unread)),
            unread_since: Instant::now(),
            taken: 0,
            _permit: permit,
        };
        // A failure means that tonic has ended: the connection ends with it.
        let _ = self.ready.send(held).await;
        None
    }

    async fn serve(&self, opened: Infallible) {
        match opened {}
    }
}

/// Reads the preface, or enough of something else to tell that it is not the preface. Returns the
/// number of bytes read.
async fn preface(stream: &mut Socket, buffer: &mut [u8; HTTP2_PREFACE.len()]) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
        let more = stream.read(rest).await?;
        read += more;
        let first = buffer.get(..read).unwrap_or_default();
        let is_foreign = !HTTP2_PREFACE.starts_with(first) && read >= development::PROXY_PREFIX_MAX;
        if more == 0 || is_foreign {
            break;
        }
    }
    Ok(read)
}

/// A connection and its permit.
#[derive(Debug)]
pub(crate) struct AcceptedConnection {
    stream: Socket,
    addr: SocketAddr,
    /// Rest of the preface, replayed to the reader that expects it.
    unread: &'static [u8],
    force_close: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Answers that the client has not read, the time since when there are any, and the bytes that
    /// the client has taken since then.
    answers: Arc<ConnectionUnread>,
    unread_since: Instant,
    taken: usize,
    _permit: ConnectionPermit,
}

/// Facts about its connection that each call gets.
#[derive(Clone, Debug)]
pub(crate) struct AcceptedInfo {
    pub(crate) tcp: TcpConnectInfo,
    pub(crate) unread: Arc<ConnectionUnread>,
}

impl AcceptedConnection {
    /// Ends a connection whose client leaves its answers unread.
    fn check_unread(&mut self, now: Instant) -> io::Result<()> {
        if !self.answers.is_waited_for() {
            (self.unread_since, self.taken) = (now, 0);
        } else if now - self.unread_since >= MAX_UNREAD_TIME {
            if self.taken < MIN_TAKEN_BYTES {
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
    fn or_force_closed<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_pending() && self.force_close.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        polled
    }
}

impl Connected for AcceptedConnection {
    type ConnectInfo = AcceptedInfo;

    fn connect_info(&self) -> AcceptedInfo {
        AcceptedInfo {
            tcp: TcpConnectInfo {
                local_addr: self.stream.socket().local_addr().ok(),
                remote_addr: Some(self.addr),
            },
            unread: Arc::clone(&self.answers),
        }
    }
}

impl AsyncRead for AcceptedConnection {
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
        self.or_force_closed(cx, polled)
    }
}

impl AsyncWrite for AcceptedConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(taken)) = &polled {
            self.taken = self.taken.saturating_add(*taken);
        }
        self.or_force_closed(cx, polled)
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
        self.or_force_closed(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.or_force_closed(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.or_force_closed(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use gimlet_listen::admission::ConnectionLimiter;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;

    use super::*;

    struct TestListener {
        addr: SocketAddr,
        ends: StopTokens,
        tasks: TaskTracker,
        incoming: Pin<Box<dyn Stream<Item = Result<AcceptedConnection, Infallible>>>>,
    }

    async fn test_listener(places: usize) -> TestListener {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let (ends, tasks) = (
            StopTokens {
                stop,
                force_close: cut,
            },
            TaskTracker::new(),
        );
        let admission = ConnectionLimiter::new(places, 1);
        let entrance = ListenerEntrance::plain(listener, admission);
        let incoming = Box::pin(incoming(entrance, &tasks, ends.clone(), Arc::default()));
        TestListener {
            addr,
            ends,
            tasks,
            incoming,
        }
    }

    async fn connect_and_send(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    async fn is_closed(mut stream: TcpStream) -> bool {
        matches!(stream.read(&mut [0]).await, Ok(0) | Err(_))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_without_the_http2_preface_is_closed_and_frees_its_permit() {
        let mut listener = test_listener(1).await;
        for bytes in [
            &b""[..],
            &HTTP2_PREFACE[..10],
            b"\x01what is this? no preface, for sure",
        ] {
            assert!(is_closed(connect_and_send(listener.addr, bytes).await).await);
        }
        let _client = connect_and_send(listener.addr, HTTP2_PREFACE).await;
        let mut held = listener.incoming.next().await.unwrap().unwrap();
        let mut preface = [0; HTTP2_PREFACE.len()];
        held.read_exact(&mut preface).await.unwrap();
        assert_eq!(preface, *HTTP2_PREFACE, "and it is there to be read");
        assert!(held.connect_info().tcp.remote_addr().is_some());
        // The only permit is taken.
        assert!(is_closed(connect_and_send(listener.addr, HTTP2_PREFACE).await).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_line_is_refused_with_the_reason() {
        let listener = test_listener(1).await;
        let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";
        let mut proxy = connect_and_send(listener.addr, line).await;
        proxy.shutdown().await.unwrap();
        let mut answer = String::new();
        proxy.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("PROXY protocol"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a3_a_client_that_leaves_answers_unread_for_a_minute_is_closed() {
        let mut listener = test_listener(1).await;
        let _client = connect_and_send(listener.addr, HTTP2_PREFACE).await;
        let mut held = listener.incoming.next().await.unwrap().unwrap();
        let now = Instant::now();
        let minutes = |n: u64| now + Duration::from_mins(n);
        // A connection without answers is not unread, however quiet it is.
        held.check_unread(minutes(10)).unwrap();
        let _answer = held.answers.reserve_answer(1_000).unwrap();
        held.check_unread(minutes(10)).unwrap();
        // Slow, but reading.
        held.taken = MIN_TAKEN_BYTES;
        held.check_unread(minutes(11)).unwrap();
        held.taken = MIN_TAKEN_BYTES - 1;
        held.check_unread(minutes(12) - Duration::from_secs(1))
            .unwrap();
        let ended = held.check_unread(minutes(12)).unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_browser_gets_an_answer_that_names_the_right_port() {
        let listener = test_listener(1).await;
        for request in [
            &b"GET / HTTP/1.0\r\n\r\n"[..],
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ] {
            let mut client = connect_and_send(listener.addr, request).await;
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
    async fn a_forced_close_ends_a_waiting_read() {
        let mut listener = test_listener(1).await;
        let _client = connect_and_send(listener.addr, HTTP2_PREFACE).await;
        let mut held = listener.incoming.next().await.unwrap().unwrap();
        listener.ends.stop.cancel();
        listener.tasks.close();
        listener.tasks.wait().await;
        let mut bytes = Vec::new();
        let (read, ()) = tokio::join!(held.read_to_end(&mut bytes), async {
            listener.ends.force_close.cancel();
        });
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
