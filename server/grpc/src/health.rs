//! The answers of gRPC's health service, which all listeners share.

use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

/// The health of the services. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct GrpcHealth {
    reporter: HealthReporter,
}

impl GrpcHealth {
    /// Returns the service that answers probes.
    pub(crate) fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    /// Sets the answer about these services, and about the server as a whole.
    pub(crate) async fn set(&self, services: Vec<&'static str>, is_serving: bool) {
        let status = if is_serving {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        // The empty name stands for the server as a whole.
        for name in services.into_iter().chain([""]) {
            self.reporter.set_service_status(name, status).await;
        }
    }
}
