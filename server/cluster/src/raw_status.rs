//! Keeps gim's status numbers, which tonic does not know: it reads every number above 16 as
//! "unknown" and discards it (tonic 0.14), so the number is copied to a header that survives in the
//! status' metadata.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response};
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::transport::{Channel, Error};
use tonic::{Code, Status};
use tower::Service;

const RAW_STATUS_HEADER: HeaderName = HeaderName::from_static("gimlet-raw-status");

/// Returns the number that was on the wire.
pub(super) fn code(status: &Status) -> i32 {
    let raw = status.metadata().get(RAW_STATUS_HEADER.as_str());
    raw.and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or(status.code() as i32)
}

fn copy(headers: &mut HeaderMap) {
    if let Some(number) = headers.get(Status::GRPC_STATUS)
        && Code::from_bytes(number.as_bytes()) == Code::Unknown
    {
        let number = number.clone();
        headers.insert(RAW_STATUS_HEADER, number);
    }
}

/// A channel whose answers keep their number.
#[derive(Clone, Debug)]
pub(super) struct RawStatus(pub(super) Channel);

impl Service<Request<Body>> for RawStatus {
    type Response = Response<Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            copy(answer.headers_mut());
            Ok(answer.map(|body| Body::new(RawStatusBody(body))))
        })
    }
}

/// A body whose trailers keep their number.
struct RawStatusBody(Body);

impl http_body::Body for RawStatusBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut polled = http_body::Body::poll_frame(Pin::new(&mut self.0), cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            copy(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        http_body::Body::is_end_stream(&self.0)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.0)
    }
}
