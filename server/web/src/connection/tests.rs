//! Connections of HTTP/1.1 and HTTP/2, and their bounds.

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
