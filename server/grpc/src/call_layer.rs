//! Middleware around every gRPC service: puts gim's status codes on the wire, bounds the time of a
//! call, turns a panic into an answer, and counts.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use gimlet_listen::development;
use gimlet_listen::forwarded::ForwardedHeaders;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use prost::Message as _;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::accept::AcceptedInfo;
use crate::call_counter::CallCounter;
use crate::status::CODE_HEADER;
use crate::unimplemented::ServedServices;
use crate::unread_answers::{self, ConnectionUnread};

/// Time limit of a call. A send is answered long before.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

const GRPC_STATUS: &str = "grpc-status";
const GRPC_MESSAGE: &str = "grpc-message";
/// gRPC's code for a method that the server does not have; tonic gives no message with it.
const UNIMPLEMENTED_CODE: i32 = 12;
/// Path prefix of the services between nodes.
const NODE_SERVICES: &str = "/gimlet.node.";

/// Wraps services in [`WireService`].
#[derive(Clone, Debug)]
pub(super) struct WireLayer {
    metrics: Arc<dyn CallCounter>,
    known: Arc<HashSet<String>>,
    /// `true` if calls that came through a proxy are refused.
    development: bool,
    /// Proxies that may name a call's client.
    forwarding: ForwardedHeaders,
    /// The services of the listener.
    served: Arc<ServedServices>,
}

impl WireLayer {
    pub(super) fn new(
        metrics: Arc<dyn CallCounter>,
        development: bool,
        served: Arc<ServedServices>,
    ) -> Self {
        Self {
            metrics,
            development,
            forwarding: ForwardedHeaders::default(),
            served,
            known: Arc::new(methods()),
        }
    }

    /// Believes these proxies when they name a call's client.
    pub(super) fn forwarding(mut self, forwarding: ForwardedHeaders) -> Self {
        self.forwarding = forwarding;
        self
    }
}

/// Returns the paths of all methods that exist: only these may become a metric's label.
fn methods() -> HashSet<String> {
    let all = prost_types::FileDescriptorSet::decode(gimlet_proto::DESCRIPTOR_SET)
        .expect("the build script wrote it");
    let mut paths = HashSet::new();
    for file in &all.file {
        for service in &file.service {
            for method in &service.method {
                paths.insert(format!(
                    "/{}.{}/{}",
                    file.package(),
                    service.name(),
                    method.name()
                ));
            }
        }
    }
    paths
}

impl<S> Layer<S> for WireLayer {
    type Service = WireService<S>;

    fn layer(&self, inner: S) -> WireService<S> {
        WireService {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service behind the layer.
#[derive(Clone, Debug)]
pub(super) struct WireService<S> {
    inner: S,
    layer: WireLayer,
}

impl<S> Service<Request<Body>> for WireService<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let unread = accepted(&mut request, &self.layer.forwarding);
        let path = request.uri().path().to_owned();
        let (layer, started) = (self.layer.clone(), Instant::now());
        if let Some(text) = layer.refusal(request.headers()) {
            let refused = Status::permission_denied(text);
            layer.count(&path, refused.code().into(), started.elapsed());
            return Box::pin(std::future::ready(Ok(refused.into_http())));
        }
        let permit = match &unread {
            Some(unread) if is_stream(&path) => {
                let Some(permit) = unread.open_stream() else {
                    let refused = unread_answers::too_many_streams().into_http();
                    return Box::pin(std::future::ready(Ok(refused)));
                };
                Some(permit)
            }
            _ => None,
        };
        let call = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        Box::pin(async move {
            let mut response = match tokio::time::timeout(CALL_DEADLINE, call).await {
                Ok(Ok(Ok(response))) => response,
                Ok(Err(_panic)) => {
                    gimlet_core::error_rated!(path, "a call panicked");
                    Status::unknown("internal error").into_http()
                }
                Err(_) => Status::deadline_exceeded("no answer in time").into_http(),
            };
            // A refusal has its status in the headers; a success has it in the trailers, which are
            // rewritten as the last step below.
            let code = rewrite(response.headers_mut());
            layer.count(&path, code, started.elapsed());
            if code == UNIMPLEMENTED_CODE && !response.headers().contains_key(GRPC_MESSAGE) {
                response = Status::unimplemented(layer.served.explain(&path)).into_http();
            }
            let response = match (permit, unread) {
                (Some(permit), _) => unread_answers::stream(response, permit),
                // Streams between nodes are exempt: the receiving node reads them all the time.
                (None, Some(unread)) if !path.starts_with(NODE_SERVICES) => {
                    unread_answers::count(response, &unread).await
                }
                (None, _) => response,
            };
            Ok(response.map(|body| {
                Body::new(body.map_frame(|mut frame| {
                    if let Some(trailers) = frame.trailers_mut() {
                        rewrite(trailers);
                    }
                    frame
                }))
            }))
        })
    }
}

/// Takes the accept loop's facts about the connection, and puts the addresses where tonic looks for
/// them.
fn accepted(
    request: &mut Request<Body>,
    forwarding: &ForwardedHeaders,
) -> Option<Arc<ConnectionUnread>> {
    let AcceptedInfo { mut tcp, unread } = request.extensions_mut().remove::<AcceptedInfo>()?;
    if let Some(peer) = tcp.remote_addr {
        let lines = request.headers().get_all(forwarding.header.name()).iter();
        let lines = lines.map(|line| line.to_str().unwrap_or_default());
        // A proxy has one connection for many clients: each call has its own.
        if let Some(client) = forwarding.client(peer.ip(), lines) {
            tcp.remote_addr = Some(SocketAddr::new(client, 0));
        }
    }
    request.extensions_mut().insert(tcp);
    Some(unread)
}

/// Returns whether this path is a stream of an unauthenticated service, which any client may keep
/// open.
fn is_stream(path: &str) -> bool {
    path == "/grpc.health.v1.Health/Watch" || path.starts_with("/grpc.reflection.")
}

impl WireLayer {
    /// Returns the reason for which a development run refuses a call. The host is not asked for: a web
    /// page cannot make calls of gRPC.
    fn refusal(&self, headers: &HeaderMap) -> Option<String> {
        (self.development)
            .then(|| development::refusal(None, |name| headers.contains_key(name)))
            .flatten()
    }

    fn count(&self, path: &str, code: i32, took: Duration) {
        let known = self.known.contains(path);
        let names = path
            .strip_prefix("/pb.")
            .and_then(|names| names.split_once('/'))
            .filter(|_| known);
        let (service, method) = names.unwrap_or(("other", "other"));
        self.metrics.answered(service, method, code, took);
        if code != 0 {
            tracing::debug!(service, method, code, "refused");
        }
    }
}

/// Puts the code of a refusal into `grpc-status`, and beside it for clients that show every number
/// beyond gRPC's own as UNKNOWN. Returns the status, 0 if there is none yet.
fn rewrite(headers: &mut HeaderMap) -> i32 {
    if let Some(code) = headers.get(CODE_HEADER).cloned() {
        headers.insert(GRPC_STATUS, code);
    }
    let status = headers.get(GRPC_STATUS).cloned();
    let code = status
        .as_ref()
        .and_then(|it| it.to_str().ok()?.parse().ok());
    if let (Some(status), Some(1..)) = (status, code) {
        headers.insert(CODE_HEADER, status);
    }
    code.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct NoCounter;

    impl CallCounter for NoCounter {
        fn answered(&self, _service: &str, _method: &str, _code: i32, _took: Duration) {}
    }

    #[test]
    fn every_method_of_gim_is_known() {
        let known = methods();
        assert!(known.contains("/pb.LogicExt/SendMessage"));
        assert!(known.contains("/pb.BusinessInt/GetUsers"));
    }

    async fn through(
        make: impl Fn() -> Result<Response<Body>, Infallible> + Clone + Send + 'static,
    ) -> Response<Body> {
        let inner = tower::service_fn(move |_: Request<Body>| {
            let make = make.clone();
            async move { make() }
        });
        let layer = WireLayer::new(Arc::new(NoCounter), true, Arc::default());
        let request = Request::post("/pb.LogicExt/GetUser").body(Body::empty());
        layer.layer(inner).call(request.unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn a_development_run_refuses_calls_through_a_proxy() {
        let served = |development, header: &'static str| async move {
            let inner = tower::service_fn(|_: Request<Body>| async {
                Ok::<_, Infallible>(Response::new(Body::empty()))
            });
            let layer = WireLayer::new(Arc::new(NoCounter), development, Arc::default());
            let request = Request::post("/pb.LogicExt/GetUser").header(header, "192.0.2.1");
            let request = request.body(Body::empty()).unwrap();
            let answer = layer.layer(inner).call(request).await.unwrap();
            !answer.headers().contains_key("grpc-status")
        };
        for header in ["x-forwarded-for", "forwarded", "x-real-ip", "via"] {
            assert!(!served(true, header).await, "{header}");
            assert!(served(false, header).await, "{header}");
        }
        assert!(served(true, "user-agent").await);
    }

    #[tokio::test]
    async fn the_code_reaches_headers_and_trailers() {
        let refused = || {
            let refusal = gimlet_core::error::RequestRefusal::Unauthorized("no token");
            Ok(crate::status::status(refusal).into_http())
        };
        let response = through(refused).await;
        assert_eq!(response.headers()["grpc-status"], "10000");
        assert_eq!(response.headers()["gimlet-code"], "10000");

        let late = || {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "2".parse().unwrap());
            trailers.insert(CODE_HEADER, "10001".parse().unwrap());
            let frame = http_body::Frame::<bytes::Bytes>::trailers(trailers);
            let body = http_body_util::StreamBody::new(tokio_stream::once(Ok::<_, Status>(frame)));
            Ok(Response::new(Body::new(body)))
        };
        let collected = through(late).await.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], "10001");
        assert_eq!(collected.trailers().unwrap()["gimlet-code"], "10001");

        let standard = || Ok(Status::unavailable("later").into_http());
        let response = through(standard).await;
        assert_eq!(response.headers()["gimlet-code"], "14");
        let well = through(|| Ok(Response::new(Body::empty()))).await;
        assert!(!well.headers().contains_key(CODE_HEADER));
    }

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let response = through(|| panic!("a bug")).await;
        assert_eq!(response.headers()["grpc-status"], "2");
        assert_eq!(response.headers()["grpc-message"], "internal%20error");
    }
}
