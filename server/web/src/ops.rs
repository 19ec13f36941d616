//! The ops listener: `/healthz`, `/readyz` and `/metrics`, for probes and operators only.

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::health::{HealthState, ServerHealth};
use crate::metrics::ServerMetrics;

/// Reads the counters kept elsewhere into the metrics, just before they are rendered.
pub type ScrapeFn = Arc<dyn Fn(&ServerMetrics) + Send + Sync>;

/// Describes the failures that do not prevent serving, one per line.
pub type FailingFn = Arc<dyn Fn() -> String + Send + Sync>;

#[derive(Clone)]
struct OpsState {
    health: Arc<ServerHealth>,
    metrics: ServerMetrics,
    scrape: ScrapeFn,
    failing: FailingFn,
}

/// Builds the routes of the ops listener.
pub fn router(
    health: Arc<ServerHealth>,
    metrics: ServerMetrics,
    scrape: ScrapeFn,
    failing: FailingFn,
) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(render))
        .with_state(OpsState {
            health,
            metrics,
            scrape,
            failing,
        })
}

async fn ready(Shared(ops): Shared<OpsState>) -> (StatusCode, String) {
    match ops.health.get() {
        HealthState::Ready => (StatusCode::OK, format!("ready\n{}", (ops.failing)())),
        HealthState::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n".into()),
        HealthState::Waiting(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("waiting: {why}\n")),
        HealthState::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n".into()),
        HealthState::Failed(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("failed: {why}\n")),
    }
}

async fn render(Shared(ops): Shared<OpsState>) -> Response {
    ops.metrics.gauge(
        "gimlet_ready",
        u64::from(ops.health.get() == HealthState::Ready),
    );
    (ops.scrape)(&ops.metrics);
    let kind = (
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    );
    ([kind], ops.metrics.render()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn get_text(router: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_follows_the_state_and_liveness_does_not() {
        let health = Arc::new(ServerHealth::default());
        let router = router(
            Arc::clone(&health),
            ServerMetrics::new(),
            Arc::new(|metrics: &ServerMetrics| metrics.gauge("gimlet_connections", 7)),
            Arc::new(String::new),
        );
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(
            get_text(&router, "/readyz").await,
            (unavailable, "starting\n".into())
        );
        health.set(HealthState::Ready);
        assert_eq!(get_text(&router, "/readyz").await.0, StatusCode::OK);
        let (_, text) = get_text(&router, "/metrics").await;
        assert!(
            text.contains("gimlet_connections 7") && text.contains("gimlet_ready 1"),
            "{text}"
        );
        health.set(HealthState::Waiting("no logic node is reached".into()));
        assert_eq!(
            get_text(&router, "/readyz").await,
            (unavailable, "waiting: no logic node is reached\n".into())
        );
        health.set(HealthState::Failed("disk".into()));
        health.set(HealthState::Draining);
        assert_eq!(
            get_text(&router, "/readyz").await,
            (unavailable, "failed: disk\n".into())
        );
        assert_eq!(get_text(&router, "/healthz").await.0, StatusCode::OK);
    }
}
