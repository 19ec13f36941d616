//! The web chat at `/`: the files that are built from `web/chat`, embedded in the program.
//!
//! It is a client like any other: it calls `/v1` with the token of its user.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, StatusCode};

/// Content security policy of the page: its own files and this server only, and no inline script or
/// style. `blob:` is for pictures that are shown before they are uploaded.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      img-src 'self' blob: data:; connect-src 'self'; worker-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
#[derive(Clone, Copy, Debug)]
struct PageFile {
    path: &'static str,
    media_type: &'static str,
    content: &'static [u8],
}

/// The files of the page.
const FILES: [PageFile; 5] = [
    PageFile {
        path: "/",
        media_type: "text/html; charset=utf-8",
        content: include_bytes!("../assets/chat/index.html"),
    },
    PageFile {
        path: "/app.js",
        media_type: "text/javascript; charset=utf-8",
        content: include_bytes!("../assets/chat/app.js"),
    },
    PageFile {
        path: "/app.css",
        media_type: "text/css; charset=utf-8",
        content: include_bytes!("../assets/chat/app.css"),
    },
    PageFile {
        path: "/service_worker.js",
        media_type: "text/javascript; charset=utf-8",
        content: include_bytes!("../assets/chat/service_worker.js"),
    },
    PageFile {
        path: "/icon.svg",
        media_type: "image/svg+xml",
        content: include_bytes!("../assets/chat/icon.svg"),
    },
];

/// Builds the routes of the page.
pub fn router() -> Router {
    FILES.into_iter().fold(Router::new(), |router, file| {
        // The names of the files stay the same between releases, so a browser asks each time.
        let tag = entity_tag(file.content);
        let answer = move |headers: HeaderMap| std::future::ready(file.answer(&tag, &headers));
        router.route(file.path, get(answer))
    })
}

impl PageFile {
    fn answer(&self, tag: &str, headers: &HeaderMap) -> Response {
        let known = headers.get(IF_NONE_MATCH);
        if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
            return (StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response();
        }
        let headers = [
            (CONTENT_TYPE, self.media_type),
            (ETAG, tag),
            (CACHE_CONTROL, "no-cache"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
        ];
        (headers, self.content).into_response()
    }
}

fn entity_tag(content: &[u8]) -> String {
    // Not a secret and not a defence: it only tells releases apart.
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(path: &str, known: Option<&str>) -> Response {
        let mut request = Request::get(path);
        if let Some(known) = known {
            request = request.header(IF_NONE_MATCH, known);
        }
        let request = request.body(Body::empty()).unwrap();
        router().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn the_page_names_no_other_host_and_no_inline_code() {
        let page = get("/", None).await;
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(page.headers()[CONTENT_SECURITY_POLICY], POLICY);
        assert!(!POLICY.contains("unsafe"));
        let body = page.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(!body.contains("//"), "an address of another host: {body}");
        for name in ["app.js", "app.css", "icon.svg"] {
            assert!(body.contains(name), "{name} is not used");
        }
    }

    #[tokio::test]
    async fn a_known_file_is_not_sent_again() {
        let first = get("/app.js", None).await;
        let tag = first.headers()[ETAG].to_str().unwrap();
        assert_eq!(
            get("/app.js", Some(tag)).await.status(),
            StatusCode::NOT_MODIFIED
        );
        assert_eq!(get("/app.js", Some("\"0\"")).await.status(), StatusCode::OK);
    }
}
