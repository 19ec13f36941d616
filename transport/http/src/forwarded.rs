//! Requests that other nodes pass on to this one.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse as _;
use bytes::Bytes;
use gimlet_proto::node::{ApiReply, ApiRequest, HttpHeader};
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use tower::ServiceExt as _;

use crate::api::ClientAddr;
use crate::nodes::ForwardHops;
use crate::problem::ApiProblem;

/// Largest answer to another node.
const MAX_REPLY_BYTES: usize = 8 << 20;

/// The API of this process for requests that other nodes pass on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ForwardedApi(Router);

impl ForwardedApi {
    /// Serves these routes.
    pub(crate) const fn new(routes: Router) -> Self {
        Self(routes)
    }

    /// Answers a request of another node.
    pub async fn answer(&self, request: ApiRequest) -> ApiReply {
        let response = match local_request(request) {
            Some(request) => {
                let Ok(response) = self.0.clone().oneshot(request).await;
                response
            }
            None => {
                ApiProblem::bad("the request was passed on by a node in a form that cannot be read")
                    .into_response()
            }
        };
        let (parts, body) = response.into_parts();
        let Ok(body) = Limited::new(body, MAX_REPLY_BYTES).collect().await else {
            return ApiReply {
                status: StatusCode::INTERNAL_SERVER_ERROR.as_u16().into(),
                ..ApiReply::default()
            };
        };
        let headers = parts.headers.iter().map(|(name, value)| HttpHeader {
            name: name.as_str().to_owned(),
            value: Bytes::copy_from_slice(value.as_bytes()),
        });
        ApiReply {
            status: parts.status.as_u16().into(),
            headers: headers.collect(),
            body: body.to_bytes(),
        }
    }
}

fn local_request(request: ApiRequest) -> Option<Request> {
    let client: Option<SocketAddr> = request.client.parse().ok();
    let mut local = Request::builder()
        .method(request.method.as_str())
        .uri(format!("/v1{}", request.path))
        .extension(ClientAddr(client))
        .extension(ForwardHops(request.hops));
    for HttpHeader { name, value } in request.headers {
        local = local.header(name, HeaderValue::from_maybe_shared(value).ok()?);
    }
    local.body(Body::from(request.body)).ok()
}
