//! Requests that another node answers, because this one lacks the role for them.
//!
//! A node passes a request on as it is, with the address of its client: the node that has the role
//! checks the credentials and counts the limits, so a request is treated alike wherever it arrives.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use gimlet_core::auth::BackendIdentity;
use gimlet_core::error::RequestRefusal;
use gimlet_core::id::UserId;
use gimlet_json::BearerToken;
use gimlet_proto::node::{ApiReply, ApiRequest, HttpHeader};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::sync::OwnedSemaphorePermit;

use crate::access::OperationAccess;
use crate::api::HttpApi;
use crate::call::{ApiCall, ApiCaller, unauthorized};
use crate::credentials::{RequestCredentials, USER_HEADER, credentials};
use crate::nodes::{ApiRole, ForwardError, ForwardHops};
use crate::problem::ApiProblem;

/// Largest number of nodes that pass a request on: from connect to logic, and from there to
/// business.
pub(crate) const MAX_HOPS: u32 = 2;
/// Path of uploads.
pub(crate) const UPLOAD_PATH: &str = "/files";
/// Time limit of a forwarded request, beside the time that it asks to wait.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the role to which this node passes a request on that needs `role`; `None` if it answers
/// itself. `with_device` is set if the request may register a device first, which the logic role does.
pub(crate) fn destination(
    api: &HttpApi,
    hops: ForwardHops,
    role: ApiRole,
    with_device: bool,
) -> Option<ApiRole> {
    let (has_logic, has_business) = (api.service.is_some(), api.accounts.is_some());
    let is_here = match role {
        ApiRole::Logic => has_logic,
        ApiRole::Business => has_business,
    };
    let nodes = api
        .nodes
        .as_ref()
        .filter(|_| !is_here && hops.0 < MAX_HOPS)?;
    let order = match role {
        ApiRole::Logic => [ApiRole::Logic, ApiRole::Logic],
        ApiRole::Business if with_device && !has_logic => [ApiRole::Logic, ApiRole::Business],
        ApiRole::Business => [ApiRole::Business, ApiRole::Logic],
    };
    let others = order
        .into_iter()
        .filter(|role| *role != ApiRole::Logic || !has_logic);
    others.into_iter().find(|role| nodes.has(*role))
}

/// A request to be passed on.
#[derive(Debug)]
pub(crate) struct ForwardedRequest {
    pub(crate) method: Method,
    /// Path below `/v1`, with the query.
    pub(crate) path: String,
    /// Names of headers that the operation reads.
    pub(crate) headers: Vec<&'static str>,
    pub(crate) body: Bytes,
    /// Time that the request asks to wait.
    pub(crate) wait: Duration,
    /// Space for the body, until the answer.
    pub(crate) space: Option<OwnedSemaphorePermit>,
}

/// Passes a request on, and returns the answer.
pub(crate) async fn forward(
    call: &ApiCall,
    to: ApiRole,
    request: ForwardedRequest,
) -> Result<Response, ApiProblem> {
    let reply = exchange(call, call.hops.0 + 1, to, request).await?;
    response(reply)
}

/// Sends a request to a node with this role.
pub(crate) async fn exchange(
    call: &ApiCall,
    hops: u32,
    to: ApiRole,
    request: ForwardedRequest,
) -> Result<ApiReply, ApiProblem> {
    let nodes = call.shared.api.nodes.as_ref();
    let nodes = nodes.ok_or(RequestRefusal::Unavailable)?;
    let names = [
        header::AUTHORIZATION.as_str(),
        USER_HEADER,
        header::CONTENT_TYPE.as_str(),
    ];
    let names = names.into_iter().chain(request.headers);
    let headers = names.filter_map(|name| {
        let value = call.headers.get(name)?;
        Some(HttpHeader {
            name: name.to_owned(),
            value: Bytes::copy_from_slice(value.as_bytes()),
        })
    });
    let only_reads = request.method == Method::GET;
    let sent = ApiRequest {
        method: request.method.to_string(),
        path: request.path,
        headers: headers.collect(),
        body: request.body,
        client: call.client.map(|it| it.to_string()).unwrap_or_default(),
        hops,
    };
    let within = FORWARD_TIMEOUT + request.wait;
    let answered = nodes.call(to, user_of(&call.headers), &sent, within).await;
    drop(request.space);
    answered.map_err(|error| {
        match error {
            ForwardError::NotReached => RequestRefusal::Unavailable,
            ForwardError::Unanswered if only_reads => RequestRefusal::Unavailable,
            ForwardError::Unanswered => RequestRefusal::Unknown,
            ForwardError::Unserved => RequestRefusal::Unsupported(
                "the business server of this cluster is not gimlet's, or is older; ask it instead",
            ),
        }
        .into()
    })
}

/// A check of credentials at another node.
#[derive(Debug)]
pub(crate) enum NodeAdmission {
    /// The caller.
    Admitted(ApiCaller),
    /// The answer of the other node.
    Refused(Response),
}

/// Checks the credentials of a request that stays on this node, which cannot check them itself: another
/// node gets the request without its file, and refuses it exactly if the credentials are wrong.
pub(crate) async fn admit(call: &ApiCall) -> Result<NodeAdmission, ApiProblem> {
    let api = &call.shared.api;
    let caller = match credentials(&call.headers, None, &api.api_keys)? {
        RequestCredentials::Absent => return Err(unauthorized()),
        // The other node checks a created key and its scope.
        RequestCredentials::Backend(_, user) => ApiCaller::Backend {
            identity: BackendIdentity::ConfiguredKey,
            user,
        },
        RequestCredentials::User(token) => ApiCaller::User(token),
    };
    let roles = [ApiRole::Logic, ApiRole::Business];
    let to = roles
        .into_iter()
        .find_map(|role| destination(api, call.hops, role, false));
    let Some(to) = to else {
        call.tokens()?;
        return Err(RequestRefusal::Unavailable.into());
    };
    let question = ForwardedRequest {
        method: Method::POST,
        path: UPLOAD_PATH.into(),
        headers: Vec::new(),
        body: Bytes::new(),
        wait: Duration::ZERO,
        space: None,
    };
    let answer = response(exchange(call, call.hops.0 + 1, to, question).await?)?;
    // The file is empty, or that node stores none either: the credentials are right.
    let is_admitted = matches!(
        answer.status(),
        StatusCode::BAD_REQUEST | StatusCode::NOT_IMPLEMENTED
    );
    Ok(if is_admitted {
        NodeAdmission::Admitted(caller)
    } else {
        NodeAdmission::Refused(answer)
    })
}

/// Checks the credentials of a call again, here or at another node: they may have ended while the file was
/// sent.
pub(crate) async fn admit_again(call: &ApiCall, access: OperationAccess) -> Result<(), ApiProblem> {
    if call.shared.api.tokens.is_some() {
        return access.admit(call, None).await.map(drop);
    }
    let NodeAdmission::Refused(answer) = admit(call).await? else {
        return Ok(());
    };
    let refusal = match answer.status() {
        StatusCode::UNAUTHORIZED => RequestRefusal::Unauthorized(
            "the credentials ended while the file was sent; sign in and send it again",
        ),
        StatusCode::FORBIDDEN => {
            RequestRefusal::Forbidden("the right to upload ended while the file was sent")
        }
        _ => RequestRefusal::Unavailable,
    };
    Err(refusal.into())
}

/// Returns the user that a request claims to be of; the node that executes it checks the claim.
fn user_of(headers: &HeaderMap) -> Option<UserId> {
    let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
    if let Some(user) = text(USER_HEADER) {
        return user.parse().ok().and_then(UserId::from_wire);
    }
    let (_, bearer) = text(header::AUTHORIZATION.as_str())?.split_once(' ')?;
    BearerToken::parse(bearer.trim()).map(|token| token.user)
}

fn response(reply: ApiReply) -> Result<Response, ApiProblem> {
    let unreadable = || ApiProblem::from(RequestRefusal::Unknown);
    let status = u16::try_from(reply.status).map_err(|_| unreadable())?;
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(status).map_err(|_| unreadable())?;
    for HttpHeader { name, value } in reply.headers {
        let name = HeaderName::try_from(name).map_err(|_| unreadable())?;
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| unreadable())?;
        response.headers_mut().append(name, value);
    }
    Ok(response)
}
