//! Counts the requests to the HTTP/JSON API: by operation and status class, with their time.
//!
//! Labels come from fixed lists. A path of a client's choice is never one of them, so that strangers
//! cannot make series.

use tokio::time::Instant;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use gimlet_http::OperationId;

use crate::metrics::ServerMetrics;

/// Operation of the requests that none has answered.
const NO_OPERATION: &str = "none";

/// Counts a request once its answer begins.
pub(crate) async fn count(metrics: ServerMetrics, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let response = next.run(request).await;
    let operation = response.extensions().get::<OperationId>();
    let operation = operation.map_or(NO_OPERATION, |it| it.0);
    metrics.http_request(operation, status_class(response.status()), began.elapsed());
    response
}

/// Returns the class of a status. 501 stands apart: it is a client's mistake about this server, and a
/// stranger can cause it.
fn status_class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        501 => "501",
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_of_one_class() {
        let cases = [
            (101, "1xx"),
            (200, "2xx"),
            (304, "3xx"),
            (404, "4xx"),
            (500, "5xx"),
            (501, "501"),
            (507, "5xx"),
        ];
        for (status, class) in cases {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(status_class(status), class);
        }
    }
}
