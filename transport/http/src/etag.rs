//! Validators of answers: a client that has the newest version of a profile gets no content.

use std::fmt::Write as _;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};

use crate::credentials::USER_HEADER;

/// Bytes of the content's hash that are in a tag.
const TAG_BYTES: usize = 16;
/// A cache of the caller alone may keep the answer, and asks before it uses it: the profile may have
/// changed, and the caller may have lost its rights.
const CACHING: &str = "private, no-cache";

/// Adds a validator to an answer. The content is left out if the request names the same one.
pub(crate) async fn validated(request: &HeaderMap, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    // The content is in memory: this does not wait, and does not fail.
    let Ok(content) = body.collect().await else {
        return Response::from_parts(parts, Body::empty());
    };
    let content = content.to_bytes();
    let tag = tag(&content);
    let is_known = is_known(request, &tag);
    let headers = &mut parts.headers;
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHING));
    for name in [header::AUTHORIZATION.as_str(), USER_HEADER] {
        headers.append(header::VARY, HeaderValue::from_static(name));
    }
    if is_known {
        parts.status = StatusCode::NOT_MODIFIED;
        headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(content))
}

fn tag(content: &[u8]) -> String {
    let hash = Sha256::digest(content);
    let mut tag = String::from("\"");
    for byte in hash.iter().take(TAG_BYTES) {
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
}

/// Returns whether `If-None-Match` names this tag. Caches on the way may have marked it as weak.
fn is_known(request: &HeaderMap, tag: &str) -> bool {
    let lines = request.get_all(header::IF_NONE_MATCH).iter();
    let given = lines.filter_map(|line| line.to_str().ok());
    let mut given = given.flat_map(|line| line.split(','));
    given.any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(content: &str, known: Option<&str>) -> (u16, HeaderMap, String) {
        let mut request = HeaderMap::new();
        if let Some(known) = known {
            request.insert(header::IF_NONE_MATCH, known.parse().unwrap());
        }
        let response = validated(&request, Response::new(Body::from(content.to_owned()))).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        (parts.status.as_u16(), parts.headers, text)
    }

    #[tokio::test]
    async fn a_known_answer_has_no_content() {
        let (status, headers, text) = answer("alice", None).await;
        assert_eq!((status, text.as_str()), (200, "alice"));
        assert_eq!(headers[header::CACHE_CONTROL], "private, no-cache");
        let tag = headers[header::ETAG].to_str().unwrap().to_owned();
        for known in [
            tag.clone(),
            format!("W/{tag}"),
            format!("\"other\", {tag}"),
            "*".into(),
        ] {
            let (status, headers, text) = answer("alice", Some(&known)).await;
            assert_eq!((status, text.as_str()), (304, ""), "{known}");
            assert_eq!(headers[header::ETAG], tag.as_str());
        }
        for other in ["\"other\"", "alice", ""] {
            assert_eq!(answer("alice", Some(other)).await.0, 200, "{other}");
        }
        assert_eq!(answer("bob", Some(&tag)).await.0, 200);
    }
}
