//! The listener's own rules around the operations: what is counted.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use gimlet_core::auth::SignInFailures;
use gimlet_http::StreamCounter;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::*;

/// Makes the API of a process without roles.
fn bare_router(metrics: &ServerMetrics) -> Router {
    let api = HttpApi {
        service: None,
        gateway: None,
        tokens: None,
        failures: Arc::new(SignInFailures::new(10)),
        accounts: None,
        push: None,
        files: None,
        hooks: None,
        api_keys: ApiKeys::default(),
        keys: None,
        nodes: None,
        streams: StreamCounter::default(),
        stop: CancellationToken::new(),
    };
    router(ApiListener {
        api,
        origins: AllowedOrigins::new(&["same".to_owned()], false),
        forwarding: ForwardedHeaders::default(),
        metrics: metrics.clone(),
    })
}

#[tokio::test]
async fn a_request_is_counted_by_its_operation_and_no_path_is_a_label() {
    let metrics = ServerMetrics::new();
    let router = bare_router(&metrics);
    let get = async |path: &str, origin: Option<&str>| {
        let mut request = Request::get(path).header("host", "chat.example");
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let request = request.body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap().status()
    };
    for _ in 0..2 {
        assert_eq!(get("/v1/inbox", None).await, StatusCode::UNAUTHORIZED);
    }
    for at in 0..100 {
        let path = format!("/v1/secret{at}");
        assert_eq!(get(&path, None).await, StatusCode::NOT_FOUND);
    }
    let evil = Some("https://evil.example");
    assert_eq!(get("/v1/inbox", evil).await, StatusCode::FORBIDDEN);
    let text = metrics.render();
    for line in [
        "gimlet_http_requests_total{operation=\"readInbox\",status=\"4xx\"} 2",
        "gimlet_http_requests_total{operation=\"none\",status=\"4xx\"} 101",
        "gimlet_http_request_seconds_count{operation=\"readInbox\"} 2",
        "gimlet_http_request_seconds_bucket{operation=\"none\",le=\"+Inf\"} 101",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    assert!(!text.contains("secret"), "{text}");
}
