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
mod tests {
    use axum::Extension;
    use axum::routing::{get, post};
    use gimlet_http::{StreamLimit, StreamPermit};
    use gimlet_listen::ListenerEntrance;
    use gimlet_listen::admission::ConnectionLimiter;
    use http::{Method, StatusCode, Version};
    use http_body_util::BodyExt as _;
    use hyper::client::conn::http2::SendRequest;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::HttpServer;

    /// A server for clients, with places for one HTTP connection and for `clients` clients.
    struct TestServer {
        addr: SocketAddr,
        http: Arc<ConnectionLimiter>,
        tasks: TaskTracker,
        ends: StopTokens,
    }

    impl TestServer {
        async fn start(router: Router, clients: usize) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let (tasks, ends) = (TaskTracker::new(), StopTokens::default());
            let http = ConnectionLimiter::new(1, 1);
            let entrance = ListenerEntrance::plain(listener, Arc::clone(&http));
            let server = HttpServer {
                router,
                clients: Some(ConnectionLimiter::new(clients, clients)),
                web_sockets: None,
                stream_buffer: 64 << 10,
            };
            tasks.spawn(server.serve(entrance, tasks.clone(), ends.clone()));
            Self {
                addr,
                http,
                tasks,
                ends,
            }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.addr).await.unwrap()
        }

        async fn http2(&self) -> SendRequest<Body> {
            let socket = TokioIo::new(self.connect().await);
            let exec = TrackedTasks(self.tasks.clone());
            // Windows of the least size: a client that reads no answer soon blocks it.
            let (client, connection) = hyper::client::conn::http2::Builder::new(exec)
                .initial_stream_window_size(65_535)
                .initial_connection_window_size(65_535)
                .handshake(socket)
                .await
                .unwrap();
            self.tasks.spawn(async move { drop(connection.await) });
            client
        }

        /// Stops the server. A connection that is not closed by then would make this wait.
        async fn stop(self) {
            self.ends.stop.cancel();
            self.ends.force_close.cancel();
            self.tasks.close();
            self.tasks.wait().await;
        }
    }

    fn request(path: &str) -> http::Request<Body> {
        let uri = format!("http://gimlet{path}");
        http::Request::get(uri).body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn both_versions_are_served_on_one_port() {
        let version = |request: Request| async move { format!("{:?}", request.version()) };
        let server = TestServer::start(Router::new().route("/", get(version)), 1).await;
        let mut client = server.http2().await;
        let response = client.send_request(request("/")).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "HTTP/2.0");
        drop(client);
        while server.http.enter(server.addr).is_err() {
            tokio::task::yield_now().await;
        }
        let mut socket = server.connect().await;
        let asked = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        socket.write_all(asked).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("HTTP/1.1"), "{answer}");
        server.stop().await;
    }

    #[tokio::test]
    async fn a_grpc_client_is_told_the_right_port() {
        let server = TestServer::start(Router::new(), 1).await;
        let mut client = server.http2().await;
        let call = http::Request::builder()
            .method(Method::POST)
            .uri("http://gimlet/pb.LogicExt/RegisterDevice")
            .header(header::CONTENT_TYPE, "application/grpc")
            .body(Body::from("\0\0\0\0\0"))
            .unwrap();
        let response = client.send_request(call).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], "12");
        let text = response.headers()["grpc-message"].to_str().unwrap();
        assert!(text.contains("gRPC is on listen.grpc"), "{text}");
        drop(client);
        server.stop().await;
    }

    /// Requests of a client that reads no answer must not keep its connection.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_left_although_it_goes_on_asking() {
        let large = || async { vec![b'x'; 1 << 20] };
        let server = TestServer::start(Router::new().route("/", get(large)), 1).await;
        let mut client = server.http2().await;
        let begun = tokio::time::Instant::now();
        let mut unread = Vec::new();
        for _ in 0..20 {
            match client.send_request(request("/")).await {
                Ok(response) => unread.push(response),
                Err(_) => break,
            }
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        let took = begun.elapsed();
        assert!(took < Duration::from_mins(2), "{took:?}");
        drop((client, unread));
        server.stop().await;
    }

    #[tokio::test]
    async fn a_client_has_a_bounded_number_of_requests_at_a_time() {
        let (entered, open) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(tokio::sync::Semaphore::new(0)),
        );
        let waits = {
            let (entered, open) = (Arc::clone(&entered), Arc::clone(&open));
            move || {
                let (entered, open) = (Arc::clone(&entered), Arc::clone(&open));
                async move {
                    entered.fetch_add(1, Ordering::Relaxed);
                    if let Ok(permit) = open.acquire().await {
                        permit.forget();
                    }
                }
            }
        };
        let server = TestServer::start(Router::new().route("/", post(waits)), 1).await;
        let mut client = server.http2().await;
        // The first answer comes after the server's settings, which the client then follows.
        let missing = client.send_request(request("/missing")).await.unwrap();
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
        let calls: Vec<_> = (0..100)
            .map(|_| {
                let mut client = client.clone();
                let call = http::Request::post("http://gimlet/").body(Body::empty());
                server
                    .tasks
                    .spawn(async move { client.send_request(call.unwrap()).await })
            })
            .collect();
        let most = HTTP2_STREAMS as usize;
        while entered.load(Ordering::Relaxed) < most {
            tokio::task::yield_now().await;
        }
        // One answer lets one more request in, and no other.
        open.add_permits(1);
        while entered.load(Ordering::Relaxed) < most + 1 {
            tokio::task::yield_now().await;
        }
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(entered.load(Ordering::Relaxed), most + 1);
        open.close();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap().status(), StatusCode::OK);
        }
        drop(client);
        server.stop().await;
    }

    /// An endless event stream that holds its permit.
    struct SilentStream(#[expect(dead_code, reason = "it ends with the stream")] StreamPermit);

    impl http_body::Body for SilentStream {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    fn streams() -> Router {
        let stream = |Extension(StreamAdmission(admit)): Extension<StreamAdmission>| async move {
            match admit(None) {
                Ok(permit) => Response::builder()
                    .header(header::CONTENT_TYPE, "text/event-stream")
                    .body(Body::new(SilentStream(permit)))
                    .unwrap(),
                Err(StreamLimit::Node | StreamLimit::Address) => Response::builder()
                    .status(StatusCode::SERVICE_UNAVAILABLE)
                    .body(Body::empty())
                    .unwrap(),
            }
        };
        Router::new().route("/events", get(stream))
    }

    #[tokio::test]
    async fn event_streams_are_clients_and_leave_the_http_places_free() {
        let server = TestServer::start(streams(), 3).await;
        let mut open = Vec::new();
        let asked = b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut statuses = Vec::new();
        for _ in 0..4 {
            let mut socket = server.connect().await;
            socket.write_all(asked).await.unwrap();
            let mut status = [0; 12];
            socket.read_exact(&mut status).await.unwrap();
            statuses.push(String::from_utf8(status.to_vec()).unwrap());
            open.push(socket);
        }
        let ok = "HTTP/1.1 200";
        assert_eq!(statuses, [ok, ok, ok, "HTTP/1.1 503"]);
        drop(open);
        server.stop().await;
    }

    #[tokio::test]
    async fn event_streams_of_one_http_2_connection_count_each() {
        let server = TestServer::start(streams(), 2).await;
        let mut client = server.http2().await;
        let first = client.send_request(request("/events")).await.unwrap();
        let second = client.send_request(request("/events")).await.unwrap();
        let third = client.send_request(request("/events")).await.unwrap();
        let statuses = [&first, &second, &third].map(|it| it.status().as_u16());
        assert_eq!(statuses, [200, 200, 503]);
        assert!(server.http.enter(server.addr).is_ok());
        drop((first, second, third, client));
        server.stop().await;
    }
}
