//! Answers a request for a stored file, the same at every path: parts of it (ranges), its validator, and
//! headers that keep a browser from running it.

use std::fmt::Write as _;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use gimlet_files::{FileKind, FileRefusal, FileStore};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio_util::io::ReaderStream;

use crate::range::{self, RangePart};

/// A file never changes under its name.
const CACHING: &str = "public, max-age=31536000, immutable";
/// No script, style or frame of a file is used, even if a browser opens it by itself.
const POLICY: &str = "default-src 'none'; sandbox";

/// Returns the answer to a request with these headers; `None` if there is no such file. `save_as` is the
/// name under which a browser saves the file.
///
/// # Errors
/// The file cannot be read.
pub async fn download(
    store: &FileStore,
    name: &str,
    headers: &HeaderMap,
    save_as: Option<&str>,
) -> Result<Option<Response>, FileRefusal> {
    let Some(stored) = store.open(name).await? else {
        return Ok(None);
    };
    let (kind, length) = (stored.kind, stored.length);
    let etag = range::etag(name);
    let given = |name: HeaderName| headers.get(name).and_then(|it| it.to_str().ok());
    let lasting = [
        (header::ETAG, etag.clone()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CACHE_CONTROL, CACHING.to_owned()),
    ];
    if given(header::IF_NONE_MATCH).is_some_and(|it| range::is_known(it, &etag)) {
        return Ok(Some((StatusCode::NOT_MODIFIED, lasting).into_response()));
    }
    let asked = range::part(given(header::RANGE), given(header::IF_RANGE), &etag, length);
    let (status, first, sent) = match asked {
        RangePart::Whole => (StatusCode::OK, 0, length),
        RangePart::Bytes(first, last) => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        RangePart::Nothing => {
            let held = [(header::CONTENT_RANGE, format!("bytes */{length}"))];
            let answer = (StatusCode::RANGE_NOT_SATISFIABLE, held, lasting);
            return Ok(Some(answer.into_response()));
        }
    };
    let Some(part) = stored.part(first, sent).await? else {
        return Ok(None);
    };
    let headers = [
        (header::CONTENT_TYPE, kind.mime.to_owned()),
        (header::CONTENT_LENGTH, sent.to_string()),
        (header::CONTENT_DISPOSITION, disposition(kind, save_as)),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
    ];
    let body = Body::from_stream(ReaderStream::new(part));
    let mut response = (status, headers, lasting, body).into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {first}-{}/{length}", first + sent - 1);
        if let Ok(range) = HeaderValue::try_from(range) {
            response.headers_mut().insert(header::CONTENT_RANGE, range);
        }
    }
    Ok(Some(response))
}

/// Returns whether a browser shows the file in place, and the name under which it saves it (RFC 6266).
fn disposition(kind: FileKind, save_as: Option<&str>) -> String {
    let shown = if kind.inline { "inline" } else { "attachment" };
    match save_as {
        Some(name) => format!("{shown}; filename*=UTF-8''{}", percent_encoded(name)),
        None => shown.to_owned(),
    }
}

/// Encodes a name for a parameter of a header (RFC 8187): letters, digits and `-._~` stay.
fn percent_encoded(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_parameter() {
        let encoded = percent_encoded("a\"b\r\nX: y;ü.pdf");
        assert_eq!(encoded, "a%22b%0D%0AX%3A%20y%3B%C3%BC.pdf");
    }
}
