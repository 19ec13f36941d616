//! The page `/docs`: shows the OpenAPI document, and sends requests of its reader.
//!
//! Its files are part of the binary and load nothing from elsewhere, so it works without a network.
//! Its policy allows scripts, styles and requests of this server only, and none inside the page: a text
//! that an answer contains can therefore not become a program.

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{HeaderName, HeaderValue, header};

/// Policy of the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The files: path, media type, content.
const FILES: [(&str, &str, &str); 6] = [
    ("/docs", HTML, include_str!("../docs/index.html")),
    ("/docs/page.css", CSS, include_str!("../docs/page.css")),
    ("/docs/page.js", SCRIPT, include_str!("../docs/page.js")),
    ("/docs/dom.js", SCRIPT, include_str!("../docs/dom.js")),
    ("/docs/schema.js", SCRIPT, include_str!("../docs/schema.js")),
    ("/docs/try.js", SCRIPT, include_str!("../docs/try.js")),
];

/// Builds the routes of the page.
pub(crate) fn router() -> Router {
    FILES
        .into_iter()
        .fold(Router::new(), |router, (path, kind, content)| {
            router.route(path, get(move || std::future::ready(file(kind, content))))
        })
}

fn file(kind: &'static str, content: &'static str) -> Response {
    let headers: [(HeaderName, HeaderValue); 6] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        // A new release has other files under the same names.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(POLICY),
        ),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            HeaderValue::from_static("same-origin"),
        ),
    ];
    (headers, content).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::{Request, StatusCode};
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn each_file_is_served_with_the_policy() {
        for (path, kind, _) in FILES {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = router().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()[header::CONTENT_TYPE], kind);
            let policy = &response.headers()[header::CONTENT_SECURITY_POLICY];
            assert!(policy.to_str().unwrap().starts_with("default-src 'none'"));
        }
        assert!(!POLICY.contains("unsafe"));
    }

    /// The policy would block what is written into the page itself, and what is elsewhere.
    #[test]
    fn the_files_load_each_other_and_nothing_else() {
        for (path, _, content) in FILES {
            for outside in [
                "http://",
                "https://",
                " style=",
                " onclick=",
                "innerHTML",
                "eval(",
            ] {
                assert!(!content.contains(outside), "{path} has {outside}");
            }
            let mut rest = content;
            while let Some((_, after)) = rest.split_once("\"/docs") {
                let (name, after) = after.split_once('"').unwrap();
                let named = format!("/docs{name}");
                assert!(FILES.iter().any(|(path, ..)| *path == named), "{named}");
                rest = after;
            }
        }
        let page = FILES[0].2;
        assert!(!page.contains("<style") && !page.contains("<script>"));
    }
}
