//! The JSON body of a request.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::json::{RequestFields, parse};
use crate::problem::ApiProblem;

/// Largest body of a request: the largest message in base64, or a group of 10,000 members.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// Reads a body up to its limit.
pub(crate) async fn read_body(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiProblem> {
    let too_large = || {
        let text = format!("the body is longer than {MAX_BODY_BYTES} bytes; send less at a time");
        ApiProblem::of(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", text)
    };
    // A body of a declared length is refused before it is sent.
    let declared = headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(too_large());
    }
    let bytes = Limited::new(body, MAX_BODY_BYTES).collect().await;
    let bytes = bytes.map_err(|error| {
        if error.is::<LengthLimitError>() {
            return too_large();
        }
        ApiProblem::bad(format!("the body could not be read: {error}"))
    })?;
    Ok(bytes.to_bytes())
}

/// Reads the fields of a JSON body; an empty body has none.
pub(crate) fn parse_body(headers: &HeaderMap, bytes: &[u8]) -> Result<RequestFields, ApiProblem> {
    if bytes.is_empty() {
        return Ok(RequestFields::default());
    }
    if !is_json(headers.get(header::CONTENT_TYPE)) {
        return Err(ApiProblem::of(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not-json",
            "the body is not declared as JSON; send the header Content-Type: application/json \
             (curl: --json)",
        ));
    }
    Ok(RequestFields::of_body(parse(bytes)?)?)
}

fn is_json(content_type: Option<&HeaderValue>) -> bool {
    let text = content_type.and_then(|it| it.to_str().ok());
    let kind = text.and_then(|it| it.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}
