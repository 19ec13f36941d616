//! Preserves status numbers that tonic does not know. gim's run from 10000; tonic reads any number
//! above 16 as "unknown" and drops the header (tonic 0.14.9, `Status::from_header_map`), so this
//! layer copies the number to a header that survives in the status' metadata.

use std::error::Error as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderName};
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Bytes, Service};
use tonic::transport::{Channel, Error};
use tonic::{Code, Status};

use crate::error::ApiError;

const COPIED_STATUS: HeaderName = HeaderName::from_static("x-raw-grpc-status");

/// Converts the error of a call, with its status number as sent. A broken connection and a timeout
/// are 4: it is unknown whether the call was executed.
pub fn api_error(status: &Status) -> ApiError {
    let raw = status.metadata().get(COPIED_STATUS.as_str());
    let raw: Option<i32> = raw.and_then(|value| value.to_str().ok()?.parse().ok());
    let here = match (status.code(), status.source()) {
        (Code::Unknown, Some(_)) | (Code::Cancelled, _) => Code::DeadlineExceeded,
        (code, _) => code,
    };
    let message = match status.message() {
        "" => status.code().description().to_owned(),
        text => text.to_owned(),
    };
    ApiError {
        code: raw.unwrap_or(here as i32),
        message: with_causes(message, status.source()),
    }
}

/// Appends the causes to the transport's text: "transport error" alone is of no help.
fn with_causes(mut text: String, mut cause: Option<&(dyn std::error::Error + 'static)>) -> String {
    while let Some(error) = cause {
        let words = error.to_string();
        if words != "transport error" && !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

fn copy(headers: &mut HeaderMap) {
    if let Some(number) = headers.get(Status::GRPC_STATUS)
        && Code::from_bytes(number.as_bytes()) == Code::Unknown
    {
        let number = number.clone();
        headers.insert(COPIED_STATUS, number);
    }
}

/// A channel that preserves the status numbers of its answers.
#[derive(Clone, Debug)]
pub struct RawStatus(pub Channel);

impl Service<http::Request<Body>> for RawStatus {
    type Response = http::Response<RawBody>;
    type Error = Error;
    type Future = BoxFuture<Self::Response, Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            copy(answer.headers_mut());
            Ok(answer.map(RawBody))
        })
    }
}

/// A body that preserves the status number in its trailers.
#[derive(Debug)]
pub struct RawBody(Body);

impl http_body::Body for RawBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut polled = Pin::new(&mut self.0).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            copy(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
