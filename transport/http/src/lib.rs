//! The HTTP/JSON API of gimlet, `/v1`: a wire like the others.
//!
//! It translates and nothing else: requests into calls of the services, refusals into problem details,
//! the inbox into pages and into a stream of server-sent events. Rules and limits are those of the
//! services, so that this API refuses the same things with the same words as the sockets and gRPC.
//!
//! [`router`] makes the routes from one list of operations; [`openapi()`] describes that list.

mod access;
mod admin;
mod api;
mod audit;
mod backend;
mod bounded;
mod bulk;
mod call;
mod content;
mod credentials;
mod device;
mod docs;
mod download;
mod etag;
mod events;
mod field_names;
mod files;
mod forward;
mod forwarded;
mod friends;
mod groups;
mod inbox;
mod inspection;
mod json;
mod jwts;
mod keys;
mod lists;
mod message;
mod nodes;
mod openapi;
mod operation;
mod problem;
mod push;
mod range;
mod request_body;
mod request_rules;
mod rooms;
mod sign_in;
mod upload;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, on};
use http::{StatusCode, Uri, header};
use serde_json::Value;

pub use api::{
    ApiFiles, ClientAddr, HttpApi, OperationId, RestartTimeLimit, StreamAdmission, StreamCounter,
    StreamLimit, StreamPermit,
};
pub use credentials::{ApiKeys, MIN_API_KEY_LEN};
pub use download::download;
pub use files::file_status;
pub use forwarded::ForwardedApi;
pub use gimlet_proto::node::{ApiReply, ApiRequest};
pub use nodes::{ApiNodes, ApiRole, ClusterNode, ForwardError, ForwardFuture, NodeListFuture};
pub use upload::{FORM_OVERHEAD_BYTES, UploadFailure, take_form};

use call::ApiState;
use operation::ApiOperation;
use problem::ApiProblem;

fn operations() -> Vec<ApiOperation> {
    let topics = [
        ("Users", sign_in::operations()),
        ("Backends", backend::operations()),
        ("Backends", bulk::operations()),
        ("Backends", jwts::operations()),
        ("Operation", admin::operations()),
        ("Operation", inspection::operations()),
        ("Keys", keys::operations()),
        ("Friends", friends::operations()),
        ("Groups", groups::operations()),
        ("Messages", message::operations()),
        ("Inbox", inbox::operations()),
        ("Inbox", events::operations()),
        ("Rooms", rooms::operations()),
        ("Files", files::operations()),
        ("Push", push::operations()),
        ("Webhooks", webhooks::operations()),
    ];
    let all = topics.into_iter().flat_map(|(topic, operations)| {
        let listed = move |operation: ApiOperation| operation.under(topic);
        operations.into_iter().map(listed)
    });
    all.collect()
}

/// Returns the OpenAPI 3.1 document of the API.
#[must_use]
pub fn openapi() -> Value {
    openapi::document(&operations())
}

/// Returns the headers of the API that a web page may send, in lower case.
#[must_use]
pub fn request_headers() -> Vec<&'static str> {
    let operations = operations();
    let read = operations.iter().flat_map(|it| &it.headers);
    let mut names: Vec<_> = read.map(|(name, _)| *name).collect();
    names.extend([header::AUTHORIZATION.as_str(), credentials::USER_HEADER]);
    names.sort_unstable();
    names.dedup();
    names
}

/// Builds the routes of the API, below `/v1`, and of its page `/docs`.
pub fn router(api: HttpApi) -> Router {
    routes(api, operations()).merge(docs::router())
}

/// Builds the routes of the operations that only backends call, below `/v1`.
pub fn backend_router(api: HttpApi) -> Router {
    let mut backends = operations();
    backends.retain(|operation| operation.access.is_for_backends());
    routes(api, backends)
}

fn routes(api: HttpApi, operations: Vec<ApiOperation>) -> Router {
    let mut routes = Router::new();
    for operation in operations {
        let (path, filter) = (operation.path, operation.filter());
        let operation = Arc::new(operation);
        let served = on(filter, move |state, path, request| {
            Arc::clone(&operation).serve(state, path, request)
        });
        routes = routes.route(path, served);
    }
    let document: Arc<str> = openapi().to_string().into();
    let described = get(move || {
        let body = document.to_string();
        async move { ([(header::CONTENT_TYPE, "application/json")], body) }
    });
    let routes = routes
        .route("/openapi.json", described)
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_path)
        .with_state(Arc::new(ApiState::new(api)));
    Router::new().nest("/v1", routes)
}

/// Makes the API for requests that other nodes pass on.
#[must_use]
pub fn forwarded(api: HttpApi) -> ForwardedApi {
    ForwardedApi::new(router(api))
}

/// Returns the answer to a page whose origin may not call the API.
#[must_use]
pub fn forbidden_origin() -> Response {
    let detail = "pages of this Origin may not call the API; add it to http.origins of the server";
    ApiProblem::of(StatusCode::FORBIDDEN, "forbidden-origin", detail).into_response()
}

/// Returns the answer to a request whose key would pass a network in the clear.
#[must_use]
pub fn unencrypted_operator() -> Response {
    let detail = "the ops listener takes API keys from other machines only by TLS: open the console on \
                  the server's machine or through a tunnel to it, add ops to tls.listeners, or set \
                  tls.terminated_elsewhere if a proxy or a private network encrypts";
    ApiProblem::of(StatusCode::FORBIDDEN, "unencrypted", detail).into_response()
}

async fn unknown_path(uri: Uri) -> Response {
    let path: String = uri.path().chars().take(100).collect();
    let detail = format!("there is no {path} below /v1; /v1/openapi.json lists the operations");
    ApiProblem::of(StatusCode::NOT_FOUND, "no-such-operation", detail).into_response()
}

async fn wrong_method() -> Response {
    let detail = "this path has no such method; the header Allow lists its methods";
    ApiProblem::of(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", detail).into_response()
}

#[cfg(test)]
mod tests;
