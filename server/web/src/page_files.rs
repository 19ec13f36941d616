//! Files of a page that is embedded in the program, with the headers of a page that trusts nobody else.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, StatusCode};

/// A file of a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageFile {
    pub(crate) path: &'static str,
    pub(crate) media_type: &'static str,
    pub(crate) content: &'static [u8],
}

/// Builds the routes of these files, which get this content security policy.
pub(crate) fn router(files: impl IntoIterator<Item = PageFile>, policy: &'static str) -> Router {
    files.into_iter().fold(Router::new(), |router, file| {
        // The names of the files stay the same between releases, so a browser asks each time.
        let tag = entity_tag(file.content);
        let answer =
            move |headers: HeaderMap| std::future::ready(file.answer(policy, &tag, &headers));
        router.route(file.path, get(answer))
    })
}

impl PageFile {
    fn answer(&self, policy: &'static str, tag: &str, headers: &HeaderMap) -> Response {
        let known = headers.get(IF_NONE_MATCH);
        if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
            return (StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response();
        }
        let headers = [
            (CONTENT_TYPE, self.media_type),
            (ETAG, tag),
            (CACHE_CONTROL, "no-cache"),
            (CONTENT_SECURITY_POLICY, policy),
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
pub(crate) mod tests {
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn get_file(router: &Router, path: &str, known: Option<&str>) -> Response {
        let mut request = Request::get(path);
        if let Some(known) = known {
            request = request.header(IF_NONE_MATCH, known);
        }
        let request = request.body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap()
    }

    /// Checks that a page loads nothing of another host, runs no inline code, uses its files, and that
    /// a known file is not sent again.
    pub(crate) async fn check_page(router: &Router, policy: &str) {
        let page = get_file(router, "/", None).await;
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(page.headers()[CONTENT_SECURITY_POLICY], policy);
        assert!(!policy.contains("unsafe"));
        let body = page.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(!body.contains("//"), "an address of another host: {body}");
        for name in ["app.js", "app.css", "icon.svg"] {
            assert!(body.contains(name), "{name} is not used");
            let first = get_file(router, &format!("/{name}"), None).await;
            assert_eq!(first.status(), StatusCode::OK, "{name}");
            let tag = first.headers()[ETAG].to_str().unwrap();
            let known = get_file(router, &format!("/{name}"), Some(tag)).await;
            assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
            let other = get_file(router, &format!("/{name}"), Some("\"0\"")).await;
            assert_eq!(other.status(), StatusCode::OK);
        }
    }
}
