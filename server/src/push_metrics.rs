//! Metrics of push notifications.

use gimlet_web::metrics::ServerMetrics;

use crate::roles::RunningRoles;

/// Sets the metrics of push notifications.
pub(crate) fn scrape(metrics: &ServerMetrics, roles: &RunningRoles) {
    for (provider, counters) in roles.push_counters() {
        let counts = counters.read();
        for (name, count) in [
            ("gimlet_push_sent_total", counts.sent),
            ("gimlet_push_removed_total", counts.removed),
            ("gimlet_push_rejected_total", counts.rejected),
            ("gimlet_push_failed_total", counts.failed),
            ("gimlet_push_expired_total", counts.expired),
        ] {
            let label = ("provider", provider.name().to_owned());
            metrics.counter_of(name, label, count);
        }
    }
}
