//! Counts gRPC calls in the server's metrics.

use std::time::Duration;

use gimlet_grpc::CallCounter;
use gimlet_web::metrics::ServerMetrics;

/// Puts the calls of the gRPC services into the metrics.
#[derive(Debug)]
pub(crate) struct CallMetrics(pub(crate) ServerMetrics);

impl CallCounter for CallMetrics {
    fn answered(&self, service: &str, method: &str, code: i32, took: Duration) {
        self.0.request(service, method, code, took);
    }
}
