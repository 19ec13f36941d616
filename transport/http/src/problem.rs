//! Errors as problem details (RFC 9457), with gimlet's code, the field and the time to wait.
//!
//! A refusal of a service keeps its code and its text, so that this API refuses the same things with
//! the same words as the sockets and gRPC do.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use gimlet_core::auth::ApiKeyRefusal;
use gimlet_core::error::RequestRefusal;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

use crate::api::StreamLimit;
use crate::field_names::{KEY_FIELD, field_of, names_key, with_key};

/// gimlet's code of an invalid request.
const BAD_REQUEST_CODE: i32 = 10_001;
/// gimlet's code of a request that this node does not support.
const UNSUPPORTED_CODE: i32 = 12;
/// gimlet's code of missing or wrong credentials.
const UNAUTHORIZED_CODE: i32 = 10_000;
/// gimlet's code of a request that a rule forbids.
const FORBIDDEN_CODE: i32 = 7;
/// gimlet's code of a limit that is reached.
const EXHAUSTED_CODE: i32 = 8;
/// Time after which a refused event stream may find a place.
const STREAM_RETRY_MS: i64 = 5_000;

/// A request that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiProblem {
    status: StatusCode,
    code: i32,
    name: &'static str,
    detail: String,
    field: Option<String>,
    retry_after_ms: i64,
}

impl ApiProblem {
    /// Makes the problem of an invalid request.
    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::of(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    /// Makes the problem of an invalid field.
    pub(crate) fn field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        let field = Some(field.into()).filter(|it| !it.is_empty());
        Self {
            field,
            ..Self::bad(detail)
        }
    }

    /// Makes the problem of a request that HTTP itself refuses: its method, path, type or size.
    pub(crate) fn of(status: StatusCode, name: &'static str, detail: impl Into<String>) -> Self {
        let code = match status {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => UNSUPPORTED_CODE,
            _ => BAD_REQUEST_CODE,
        };
        Self {
            status,
            code,
            name,
            detail: detail.into(),
            field: None,
            retry_after_ms: 0,
        }
    }

    /// Makes the problem of an event stream for which there is no place.
    pub(crate) fn of_limit(limit: StreamLimit) -> Self {
        let (status, name, detail) = match limit {
            StreamLimit::Node => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too-many-connections",
                "this node has all connections that limits.max_connections allows; use another node, \
                 or come back later",
            ),
            StreamLimit::Address => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-connections-of-address",
                "your address has all connections that limits.per_address allows; close one first",
            ),
        };
        Self {
            code: EXHAUSTED_CODE,
            retry_after_ms: STREAM_RETRY_MS,
            ..Self::of(status, name, detail)
        }
    }

    /// Makes a problem with this code, and the milliseconds to wait.
    pub(crate) fn of_code(
        status: StatusCode,
        name: &'static str,
        code: i32,
        detail: impl Into<String>,
        retry_after_ms: i64,
    ) -> Self {
        Self {
            code,
            retry_after_ms,
            ..Self::of(status, name, detail)
        }
    }

    /// Names the field that the problem is in.
    pub(crate) fn inside(mut self, field: String) -> Self {
        self.detail = format!("{field}: {}", self.detail);
        self.field = Some(field);
        self
    }

    /// Names the field of a refusal of a service, as this API has it, if its text begins with one.
    pub(crate) fn of_operation(self, is_field: impl Fn(&str) -> bool) -> Self {
        let mut problem = self;
        if problem.field.is_none()
            && problem.code == BAD_REQUEST_CODE
            && let Some((field, detail)) = field_of(&problem.detail, &is_field)
        {
            problem.field = Some(field);
            problem.detail = detail;
        }
        if names_key(&problem.detail) && is_field(KEY_FIELD) {
            problem.detail = with_key(&problem.detail);
        }
        problem
    }

    /// Returns the HTTP status.
    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns gimlet's code.
    pub(crate) const fn code(&self) -> i32 {
        self.code
    }

    /// Returns the field that is wrong.
    pub(crate) fn field_name(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// Returns the milliseconds after which a repeat may be accepted.
    pub(crate) fn retry_after_ms(&self) -> Option<i64> {
        Some(self.retry_after_ms).filter(|ms| *ms > 0)
    }

    /// Returns the reason.
    pub(crate) fn into_detail(self) -> String {
        self.detail
    }

    fn json(&self) -> Value {
        let mut body = Map::new();
        let title = self.name.replace('-', " ");
        body.insert("type".into(), format!("urn:gimlet:{}", self.name).into());
        body.insert("title".into(), title.into());
        body.insert("status".into(), self.status.as_u16().into());
        body.insert("code".into(), self.code.into());
        body.insert("detail".into(), self.detail.clone().into());
        if let Some(field) = &self.field {
            body.insert("field".into(), field.clone().into());
        }
        if self.retry_after_ms > 0 {
            body.insert("retry_after_ms".into(), self.retry_after_ms.into());
        }
        Value::Object(body)
    }
}

impl From<RequestRefusal> for ApiProblem {
    fn from(refusal: RequestRefusal) -> Self {
        let (status, name) = kind(&refusal);
        Self {
            status,
            code: refusal.code(),
            name,
            detail: refusal.to_string(),
            field: None,
            retry_after_ms: refusal.retry_after_ms(),
        }
    }
}

impl From<ApiKeyRefusal> for ApiProblem {
    fn from(refusal: ApiKeyRefusal) -> Self {
        let (status, code, name) = match refusal {
            ApiKeyRefusal::Refused(refusal) => return refusal.into(),
            ApiKeyRefusal::Unknown | ApiKeyRefusal::Expired | ApiKeyRefusal::Revoked => {
                (StatusCode::UNAUTHORIZED, UNAUTHORIZED_CODE, "unauthorized")
            }
            ApiKeyRefusal::MissingScope { .. } => {
                (StatusCode::FORBIDDEN, FORBIDDEN_CODE, "missing-scope")
            }
            ApiKeyRefusal::TooManyRights { .. } => {
                (StatusCode::FORBIDDEN, FORBIDDEN_CODE, "too-many-rights")
            }
            ApiKeyRefusal::NoSuchKey(_) => (StatusCode::NOT_FOUND, UNSUPPORTED_CODE, "no-such-key"),
        };
        Self {
            code,
            ..Self::of(status, name, refusal.to_string())
        }
    }
}

/// Returns the HTTP status of a refusal, and its name in `type`.
const fn kind(refusal: &RequestRefusal) -> (StatusCode, &'static str) {
    match refusal {
        RequestRefusal::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "unauthorized"),
        RequestRefusal::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad-request"),
        RequestRefusal::BadCode => (StatusCode::FORBIDDEN, "bad-code"),
        RequestRefusal::NotInGroup(_) => (StatusCode::FORBIDDEN, "not-in-group"),
        RequestRefusal::NoSuchGroup(_) => (StatusCode::NOT_FOUND, "no-such-group"),
        RequestRefusal::NoSuchDevice(_) => (StatusCode::NOT_FOUND, "no-such-device"),
        RequestRefusal::AlreadyFriends(_) => (StatusCode::CONFLICT, "already-friends"),
        RequestRefusal::NoSuchUser(_) => (StatusCode::NOT_FOUND, "no-such-user"),
        RequestRefusal::Banned => (StatusCode::FORBIDDEN, "banned"),
        RequestRefusal::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
        RequestRefusal::Rejected(_) => (StatusCode::FORBIDDEN, "rejected"),
        RequestRefusal::Conflict => (StatusCode::CONFLICT, "conflict"),
        RequestRefusal::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate-limited"),
        RequestRefusal::Backlog { .. } => (StatusCode::TOO_MANY_REQUESTS, "backlog"),
        // A limit that waiting does not lift, for example the number of members of a group.
        RequestRefusal::Exhausted(_) => (StatusCode::CONFLICT, "limit-reached"),
        RequestRefusal::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        RequestRefusal::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        RequestRefusal::Unknown => (StatusCode::GATEWAY_TIMEOUT, "outcome-unknown"),
        RequestRefusal::Unsupported(_) => (StatusCode::NOT_IMPLEMENTED, "unsupported"),
        RequestRefusal::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.json().to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.retry_after_ms > 0 {
            let seconds = self.retry_after_ms.saturating_add(999) / 1_000;
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// Returns the JSON schema of a problem.
pub(crate) fn schema() -> Value {
    serde_json::json!({
        "type": "object",
        "description": "A refused request (RFC 9457).",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": {"type": "string", "description": "A URN that names the kind of problem."},
            "title": {"type": "string", "description": "The name of the kind."},
            "status": {"type": "integer", "description": "The HTTP status."},
            "code": {
                "type": "integer",
                "description": "gimlet's code, the same on every wire: 10000 to 10017, or a gRPC code."
            },
            "detail": {
                "type": "string",
                "description": "The reason, with the value that would be right."
            },
            "field": {"type": "string", "description": "The wrong field or header."},
            "retry_after_ms": {
                "type": "integer",
                "description": "Milliseconds after which the same request may succeed."
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_refusal_keeps_its_code_and_its_text() {
        let problem = ApiProblem::from(RequestRefusal::Unauthorized("the token is wrong"));
        let response = problem.clone().into_response();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "application/problem+json"
        );
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
        let json = problem.json();
        assert_eq!(json["code"], 10_000);
        assert_eq!(json["type"], "urn:gimlet:unauthorized");
        assert!(
            json["detail"]
                .as_str()
                .unwrap()
                .contains("the token is wrong")
        );
        assert_eq!(json.get("field"), None);
    }

    #[test]
    fn a_refusal_that_waiting_helps_has_the_time_to_wait() {
        let retry_after = Duration::from_millis(1_200);
        let problem = ApiProblem::from(RequestRefusal::RateLimited { retry_after });
        assert_eq!(problem.json()["retry_after_ms"], 1_200);
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(
            response.headers()[header::RETRY_AFTER],
            "2",
            "whole seconds"
        );
        let never = ApiProblem::from(RequestRefusal::Conflict).into_response();
        assert_eq!(never.headers().get(header::RETRY_AFTER), None);
    }
}
