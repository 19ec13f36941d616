//! Metrics of webhooks.

use gimlet_core::hook_delivery::HookDelivery;
use gimlet_core::service::LogicService;
use gimlet_core::time::{SystemClock, TimeSource as _};
use gimlet_web::metrics::ServerMetrics;

use crate::roles::RunningRoles;

/// Sets the metrics of webhooks.
pub(crate) fn scrape(metrics: &ServerMetrics, roles: &RunningRoles) {
    if let Some(delivery) = roles.hook_delivery() {
        scrape_delivery(metrics, delivery);
    }
    if let Some(policy) = roles.service().and_then(LogicService::before_send) {
        let counts = policy.counts();
        for (verdict, count) in [
            ("allowed", counts.allowed),
            ("refused", counts.refused),
            ("replaced", counts.replaced),
            ("failed", counts.failed),
            ("skipped", counts.skipped),
        ] {
            let label = ("verdict", verdict.to_owned());
            metrics.counter_of("gimlet_before_send_total", label, count);
        }
    }
}

fn scrape_delivery(metrics: &ServerMetrics, delivery: &HookDelivery) {
    for (hook, statistics) in delivery.statistics() {
        let label = || ("webhook", hook.to_string());
        for (name, count) in [
            ("gimlet_webhook_delivered_total", statistics.delivered),
            ("gimlet_webhook_failed_total", statistics.failed),
            ("gimlet_webhook_retries_total", statistics.retries),
            ("gimlet_webhook_given_up_total", statistics.given_up),
            ("gimlet_webhook_dropped_total", statistics.dropped),
        ] {
            metrics.counter_of(name, label(), count);
        }
        // One node delivers a webhook: the others show 0, so that a sum over the nodes is right.
        let backlog = statistics.backlog.unwrap_or_default();
        let age_ms = backlog
            .oldest
            .map_or(0, |oldest| SystemClock.now().0 - oldest.0);
        let age = u64::try_from(age_ms / 1_000).unwrap_or_default();
        metrics.gauge_of("gimlet_webhook_backlog", label(), backlog.events);
        metrics.gauge_of("gimlet_webhook_oldest_seconds", label(), age);
        let letters = backlog.dead_letters;
        metrics.gauge_of("gimlet_webhook_dead_letters", label(), letters);
    }
}
