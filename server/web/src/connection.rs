//! The requests of one HTTP connection, over HTTP/1 or HTTP/2.
//!
//! The library's defaults are replaced where they are large: see the constants. An event stream on
//! HTTP/1 and a WebSocket leave the library ([`crate::hand_off`]).

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use gimlet_http::{RestartTimeLimit, StreamAdmission};
use gimlet_listen::{ClientStream, StopTokens, socket};
use http::{HeaderValue, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::event_stream::RawEventStream;
use crate::hand_off::{HandOff, HandedConnection};
use crate::linger::{LingeringStream, UnreadBody};
use crate::min_rate::{PacedStream, RequestDeadline};
use crate::peer_addr::PeerAddr;
use crate::stream_seat::ConnectionSeat;
use crate::web_socket::WebSocketCheck;

/// Time limit for the first byte, and for the header of each request.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head, and of an answer that waits for the socket. hyper's default is 400 KB.
const HTTP1_BUFFER_BYTES: usize = 32 << 10;
/// Requests at the same time on an HTTP/2 connection; hyper's default is 200. Each may have an answer
/// that its client does not read.
const HTTP2_STREAMS: u32 = 32;
/// HTTP/2 windows in bytes: of one request's body, and of the connection. hyper's defaults are 1 MB.
const HTTP2_WINDOW_BYTES: (u32, u32) = (128 << 10, 256 << 10);
/// Bytes of an answer that HTTP/2 takes ahead of the socket; hyper's default is 400 KB.
const HTTP2_SEND_BUFFER_BYTES: usize = 32 << 10;
/// Bytes of the headers of an HTTP/2 request.
const HTTP2_HEADER_BYTES: u32 = 16 << 10;
/// Requests that a client may cancel before they are looked at. A browser that leaves a page cancels
/// all of its requests at once, and h2's default of 20 would end the connection.
const HTTP2_PENDING_RESETS: usize = 64;
/// Streams that are reset for a client's mistakes over the life of a connection: h2's default.
const HTTP2_LOCAL_RESETS: usize = 1_024;
/// Interval of pings on a quiet HTTP/2 connection, and the time for an answer.
const HTTP2_PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(20));

/// gRPC's code of a call that is not served.
const GRPC_UNIMPLEMENTED: &str = "12";
/// Explanation for gRPC clients, which speak HTTP/2 as browsers do.
const GRPC_TEXT: &str = "this is gimlet's HTTP port; gRPC is on listen.grpc (by default 50100)";

/// The requests of one connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionRequests {
    pub(crate) router: Router,
    pub(crate) addr: SocketAddr,
    pub(crate) seat: ConnectionSeat,
    pub(crate) pace: RequestDeadline,
    pub(crate) web_sockets: Option<WebSocketCheck>,
}

impl ConnectionRequests {
    /// Answers a request by the router.
    fn answer(&self, mut request: Request) -> impl Future<Output = Response> + use<> {
        let (seat, addr, pace) = (self.seat.clone(), self.addr, self.pace.clone());
        let extensions = request.extensions_mut();
        extensions.insert(PeerAddr(addr));
        extensions.insert(RestartTimeLimit(Arc::new(move || pace.restart())));
        extensions.insert(StreamAdmission(Arc::new(move |client| {
            seat.open_stream(client.unwrap_or(addr))
        })));
        let answered = self.router.clone().oneshot(request);
        async move {
            let Ok(response) = answered.await;
            response
        }
    }

    /// Serves HTTP/1 until the connection ends, or until `ends.force_close`. An event stream keeps
    /// `stream_buffer` bytes of the system's memory in each direction.
    pub(crate) async fn serve_http1(
        self,
        stream: ClientStream,
        stream_buffer: usize,
        ends: &StopTokens,
    ) -> Result<(), String> {
        let unread = UnreadBody::default();
        let stream = LingeringStream::new(stream, unread.clone());
        let stream = PacedStream::new(stream, self.pace.clone());
        // Boxed, so that hyper's memory is freed before the connection is used otherwise.
        let requests = Box::pin(self.serve_until_hand_off(stream, unread, ends));
        let Some((mut stream, tail, handed)) = requests.await? else {
            return Ok(());
        };
        let events = match handed {
            HandedConnection::Events(events) => events,
            HandedConnection::WebSocket(upgrade) => {
                let answer = upgrade.answer();
                let written = write_all(&mut stream, &answer).await;
                written.map_err(|error| error.to_string())?;
                let stream = stream.into_inner().into_inner();
                upgrade.serve(stream, tail.into()).await;
                return Ok(());
            }
        };
        let socket = stream.get_ref().get_ref().socket();
        let bounded = socket::bound_buffers(socket, stream_buffer);
        bounded.map_err(|error| error.to_string())?;
        match ends
            .force_close
            .run_until_cancelled(events.write(stream))
            .await
        {
            Some(written) => written.map_err(|error| error.to_string()),
            None => Err("cut off".into()),
        }
    }

    /// Returns the check of a request that is for a WebSocket.
    fn web_socket<B>(&self, request: &http::Request<B>) -> Option<&WebSocketCheck> {
        let is_for = WebSocketCheck::is_for(request.method(), request.uri());
        self.web_sockets.as_ref().filter(|_| is_for)
    }

    /// Serves requests until one takes the connection out of hyper: returns its stream, the bytes that
    /// the client sent after that request, and its further use.
    async fn serve_until_hand_off<S>(
        self,
        stream: PacedStream<S>,
        unread: UnreadBody,
        ends: &StopTokens,
    ) -> Result<Option<(PacedStream<S>, Bytes, HandedConnection)>, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (hand_off, pace) = (HandOff::default(), self.pace.clone());
        let given = hand_off.clone();
        let service = service_fn(move |request: http::Request<Incoming>| {
            self.pace.restart();
            let (method, version) = (request.method().clone(), request.version());
            let answered = match self.web_socket(&request) {
                Some(check) => {
                    let (parts, _) = request.into_parts();
                    Err(check.admit(self.addr, parts, |client| self.seat.open_stream(client)))
                }
                None => Ok(self.answer(request.map(|body| unread.watch(Body::new(body))))),
            };
            let given = given.clone();
            async move {
                let handed = match answered {
                    Ok(answered) => RawEventStream::of(&method, version, answered.await)
                        .map(HandedConnection::Events),
                    Err(upgraded) => upgraded.map(|it| HandedConnection::WebSocket(Box::new(it))),
                };
                match handed {
                    Ok(handed) => {
                        given.give(handed);
                        // The task of the connection drops this future with the rest of hyper.
                        pending().await
                    }
                    Err(response) => Ok::<_, Infallible>(*response),
                }
            }
        });
        let mut served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(HTTP1_BUFFER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let mut stopping = false;
        loop {
            // hyper first, because it runs the service that gives the stream. The stream has to wait
            // until hyper has written the answers to requests before it.
            let step = poll_fn(|cx| match Pin::new(&mut served).poll(cx) {
                Poll::Ready(ended) => Poll::Ready(Some(ended)),
                Poll::Pending if hand_off.is_given() && !pace.is_behind() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            tokio::select! {
                biased;
                ended = step => {
                    if let Some(ended) = ended {
                        return ended.map(|()| None).map_err(|error| error.to_string());
                    }
                    let parts = served.into_parts();
                    let stream = parts.io.into_inner();
                    return Ok(hand_off.take().map(|handed| (stream, parts.read_buf, handed)));
                }
                () = ends.stop.cancelled(), if !stopping => {
                    stopping = true;
                    Pin::new(&mut served).graceful_shutdown();
                }
                // A slow upload, or a client that does not read, has time until the forced close.
                () = ends.force_close.cancelled() => return Err("cut off".into()),
            }
        }
    }

    /// Serves HTTP/2 until the connection ends, or until `ends.force_close`. Its requests are tasks
    /// of `tasks`.
    pub(crate) async fn serve_http2(
        self,
        stream: ClientStream,
        tasks: TaskTracker,
        ends: &StopTokens,
    ) -> Result<(), String> {
        let stream = PacedStream::new(stream, self.pace.clone());
        let open = OpenRequests::default();
        let service = service_fn(move |request: http::Request<Incoming>| {
            let open = open.enter();
            // A client that reads no answer must not live on by its next request.
            if open.is_first() {
                self.pace.restart();
            }
            let answered = answer_grpc(&request).ok_or_else(|| self.answer(request.map(Body::new)));
            async move {
                let response = match answered {
                    Ok(response) => response,
                    Err(answered) => answered.await,
                };
                Ok::<_, Infallible>(response.map(|body| open.watch(body)))
            }
        });
        let (window, connection_window) = HTTP2_WINDOW_BYTES;
        let (interval, timeout) = HTTP2_PING;
        let served = http2::Builder::new(TrackedTasks(tasks))
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS)
            .initial_stream_window_size(window)
            .initial_connection_window_size(connection_window)
            .max_send_buf_size(HTTP2_SEND_BUFFER_BYTES)
            .max_header_list_size(HTTP2_HEADER_BYTES)
            .max_pending_accept_reset_streams(HTTP2_PENDING_RESETS)
            .max_local_error_reset_streams(HTTP2_LOCAL_RESETS)
            .keep_alive_interval(interval)
            .keep_alive_timeout(timeout)
            .serve_connection(TokioIo::new(stream), service);
        let mut served = pin!(served);
        let mut stopping = false;
        loop {
            tokio::select! {
                biased;
                result = served.as_mut() => return result.map_err(|error| error.to_string()),
                () = ends.stop.cancelled(), if !stopping => {
                    stopping = true;
                    served.as_mut().graceful_shutdown();
                }
                () = ends.force_close.cancelled() => return Err("cut off".into()),
            }
        }
    }
}

async fn write_all(stream: &mut (impl AsyncWrite + Send + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Answers a call of gRPC with the address of the right port.
fn answer_grpc<B>(request: &http::Request<B>) -> Option<Response> {
    let kind = request.headers().get(header::CONTENT_TYPE)?;
    if !kind.as_bytes().starts_with(b"application/grpc") {
        return None;
    }
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind.clone());
    headers.insert("grpc-status", HeaderValue::from_static(GRPC_UNIMPLEMENTED));
    headers.insert("grpc-message", HeaderValue::from_static(GRPC_TEXT));
    Some(response)
}

/// Runs the requests of HTTP/2 connections as tasks that the server waits for.
#[derive(Clone, Debug)]
struct TrackedTasks(TaskTracker);

impl<F> hyper::rt::Executor<F> for TrackedTasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(async move { drop(task.await) });
    }
}

/// Count of the requests of a connection whose answers are not sent yet.
#[derive(Clone, Debug, Default)]
struct OpenRequests(Arc<AtomicUsize>);

impl OpenRequests {
    fn enter(&self) -> OpenRequest {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        OpenRequest {
            count: Arc::clone(&self.0),
            before,
        }
    }
}

/// One of these requests.
#[derive(Debug)]
struct OpenRequest {
    count: Arc<AtomicUsize>,
    /// Open requests when this one began.
    before: usize,
}

impl OpenRequest {
    const fn is_first(&self) -> bool {
        self.before == 0
    }

    /// Returns the body, which counts until it is dropped.
    fn watch(self, body: Body) -> Body {
        Body::new(CountedBody { body, _open: self })
    }
}

/// The body of an answer that is not sent yet.
struct CountedBody {
    body: Body,
    _open: OpenRequest,
}

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
