//! Free space for sends on the disk of the embedded storage. Without it the node is read-only: it
//! keeps its clients, who can still read, so it stays ready, and `/readyz` says so.

use std::path::PathBuf;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::IntoResponse as _;

/// The disk of a data directory.
#[derive(Clone, Debug)]
pub struct DiskSpace {
    dir: PathBuf,
    /// Bytes that sends leave free; 0 if no data is on this disk.
    min_free: u64,
}

impl DiskSpace {
    /// Returns the disk of this directory, where sends leave `min_free` bytes; 0 if no data is on it.
    #[must_use]
    pub const fn new(dir: PathBuf, min_free: u64) -> Self {
        Self { dir, min_free }
    }

    /// Returns a description of the missing space, if sends lack some.
    #[must_use]
    pub fn shortage(&self) -> Option<String> {
        // An unknown free space does not count as missing: the storage will report a full disk.
        let free = gimlet_files::free_bytes(&self.dir)?;
        let needed = self.min_free;
        (free < needed)
            .then(|| format!("{free} bytes are free on the disk, and sends leave {needed} free"))
    }

    /// Adds the shortage to `/readyz` of a node that is ready.
    pub fn tell(self, router: Router) -> Router {
        router.layer(axum::middleware::from_fn(
            move |request: Request, next: Next| {
                let space = self.clone();
                async move {
                    let asked = request.uri().path() == "/readyz";
                    let response = next.run(request).await;
                    match space.shortage() {
                        Some(why) if asked && response.status() == StatusCode::OK => {
                            (StatusCode::OK, format!("ready, read-only: {why}\n")).into_response()
                        }
                        _ => response,
                    }
                }
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn answer(min_free: u64, path: &str, status: StatusCode) -> String {
        let router = Router::new()
            .route("/readyz", get(move || async move { (status, "as it was") }))
            .route("/healthz", get(|| async { "as it was" }));
        let dir = std::env::temp_dir();
        let router = DiskSpace { dir, min_free }.tell(router);
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert!(path != "/readyz" || response.status() == status);
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_ready_node_reports_a_full_disk() {
        let full = answer(u64::MAX, "/readyz", StatusCode::OK).await;
        assert!(full.starts_with("ready, read-only: "), "{full}");
        for (min_free, path, status) in [
            (0, "/readyz", StatusCode::OK),
            (u64::MAX, "/readyz", StatusCode::SERVICE_UNAVAILABLE),
            (u64::MAX, "/healthz", StatusCode::OK),
        ] {
            assert_eq!(answer(min_free, path, status).await, "as it was");
        }
    }
}
