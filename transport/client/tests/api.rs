//! Tests that gRPC status numbers outside gRPC's own range reach the caller as sent.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use gimlet_client::{ApiClient, ApiError, Client, ClientError, ClientOptions, DeviceCredentials};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;

/// Refuses every call: in the headers for one method, in the trailers for the others.
#[derive(Clone)]
struct RefusingService;

impl NamedService for RefusingService {
    const NAME: &'static str = "pb.LogicExt";
}

struct TrailersBody(Option<HeaderMap>);

impl http_body::Body for TrailersBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

impl Service<http::Request<Body>> for RefusingService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let (code, early) = match request.uri().path() {
            "/pb.LogicExt/AddFriend" => ("10015", true),
            "/pb.LogicExt/GetFriends" => ("10000", false),
            _ => ("14", true),
        };
        let mut status = HeaderMap::new();
        status.insert("grpc-status", HeaderValue::from_static(code));
        status.insert("grpc-message", HeaderValue::from_static("no%20way"));
        let user = request.headers().get("user_id");
        assert_eq!(user.map(HeaderValue::as_bytes), Some(&b"1"[..]));
        let mut response = http::Response::new(Body::empty());
        let kind = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert("content-type", kind);
        if early {
            response.headers_mut().extend(status);
        } else {
            *response.body_mut() = Body::new(TrailersBody(Some(status)));
        }
        ready(Ok(response))
    }
}

fn who() -> DeviceCredentials {
    DeviceCredentials {
        user_id: 1,
        device_id: 2,
        token: "t".into(),
    }
}

#[tokio::test]
async fn numbers_beyond_grpc_arrive_as_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let server = tonic::transport::Server::builder().add_service(RefusingService);
    let stopped = stop.clone().cancelled_owned();
    tasks.spawn(server.serve_with_incoming_shutdown(incoming, stopped));

    let api = ApiClient::new(&format!("http://{address}"))
        .unwrap()
        .signed_in(who());
    let refused = |code| ApiError {
        code,
        message: "no way".into(),
    };
    assert_eq!(api.add_friend(2, "").await, Err(refused(10_015)));
    assert_eq!(api.friends().await, Err(refused(10_000)));
    assert_eq!(api.groups().await, Err(refused(14)));
    // `BusinessExt` is not served here; with an address of its own it is called there.
    assert_eq!(api.get_user().await.unwrap_err().code, 12);
    let apart = api.with_business("http://127.0.0.1:1").unwrap();
    assert_eq!(apart.get_user().await.unwrap_err().code, 14);
    assert_eq!(apart.friends().await, Err(refused(10_000)));
    drop(apart);
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_14() {
    // Bound but not listening, so that no other program gets the port meanwhile.
    let port = tokio::net::TcpSocket::new_v4().unwrap();
    port.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = port.local_addr().unwrap();
    let api = ApiClient::new(&format!("http://{address}")).unwrap();
    assert_eq!(api.register_device("x").await.unwrap_err().code, 14);
}

#[tokio::test]
async fn addresses_and_ids_that_cannot_be_are_refused_at_the_start() {
    for bad in ["", "127.0.0.1:50100", "ftp://x:1", "http://"] {
        let apart = ApiClient::new("http://127.0.0.1:1")
            .unwrap()
            .with_business(bad);
        for error in [ApiClient::new(bad).unwrap_err(), apart.unwrap_err()] {
            let error = error.to_string();
            assert!(error.contains("http://host:port"), "{bad}: {error}");
        }
    }
    let mut nobody = who();
    nobody.user_id = 0;
    let options = ClientOptions::new("127.0.0.1:1".parse().unwrap(), nobody);
    let error = Client::connect(options).await.unwrap_err();
    assert!(matches!(error, ClientError::Invalid(text) if text.contains("user_id is 0")));
}
