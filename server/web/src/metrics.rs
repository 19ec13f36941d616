//! Metrics for operators: a Prometheus recorder of this server's own, so that two servers in one
//! process (and the program that embeds them) do not mix their values.
//!
//! Counters of core are read at scrape time; requests are counted as they end.

use std::sync::Arc;
use std::time::Duration;

use gimlet_core::histogram::HistogramCounts;
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use crate::histogram_text::HistogramTexts;

/// Upper bounds of the histograms of requests, in seconds.
const REQUEST_SECONDS_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 5.0,
];

/// One server's metrics; cheap to clone.
#[derive(Clone)]
pub struct ServerMetrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    histograms: HistogramTexts,
}

impl std::fmt::Debug for ServerMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerMetrics").finish_non_exhaustive()
    }
}

impl Default for ServerMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerMetrics {
    /// Creates a recorder with every metric described.
    #[expect(
        clippy::missing_panics_doc,
        reason = "the list of buckets is not empty"
    )]
    #[must_use]
    pub fn new() -> Self {
        let builder = PrometheusBuilder::new();
        let builder = builder
            .set_buckets_for_metric(
                Matcher::Full("gimlet_request_seconds".into()),
                REQUEST_SECONDS_BUCKETS,
            )
            .and_then(|builder| {
                builder.set_buckets_for_metric(
                    Matcher::Full("gimlet_http_request_seconds".into()),
                    REQUEST_SECONDS_BUCKETS,
                )
            })
            .expect("the list of buckets is not empty");
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        let metrics = Self {
            recorder: Arc::new(recorder),
            handle,
            histograms: HistogramTexts::default(),
        };
        metrics.with(describe);
        metrics
    }

    /// Runs `f` with this recorder as the target of the `metrics` macros.
    fn with(&self, f: impl FnOnce()) {
        metrics::with_local_recorder(self.recorder.as_ref(), f);
    }

    /// Counts a gRPC request that was answered with `code` (0 is success).
    pub fn request(&self, service: &str, method: &str, code: i32, took: Duration) {
        let labels = [
            ("service", service.to_owned()),
            ("method", method.to_owned()),
        ];
        self.with(|| {
            histogram!("gimlet_request_seconds", &labels).record(took.as_secs_f64());
            if code != 0 {
                let labels = [("method", method.to_owned()), ("code", code.to_string())];
                counter!("gimlet_refusals_total", &labels).increment(1);
            }
        });
    }

    /// Counts a request to the HTTP/JSON API. Both labels come from fixed lists: a client's text would
    /// let it make series.
    pub fn http_request(&self, operation: &'static str, status: &'static str, took: Duration) {
        let labels = [("operation", operation), ("status", status)];
        self.with(|| {
            histogram!("gimlet_http_request_seconds", "operation" => operation)
                .record(took.as_secs_f64());
            counter!("gimlet_http_requests_total", &labels).increment(1);
        });
    }

    /// Sets a gauge to a value that is kept elsewhere.
    pub fn gauge(&self, name: &'static str, value: u64) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float by nature")]
        self.with(|| gauge!(name).set(value as f64));
    }

    /// Sets one gauge of a family, selected by a label, to a value that is kept elsewhere.
    pub fn gauge_of(&self, name: &'static str, label: (&'static str, String), value: u64) {
        let labels = [label];
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float by nature")]
        self.with(|| gauge!(name, &labels).set(value as f64));
    }

    /// Sets a counter to a value that is kept elsewhere.
    pub fn counter(&self, name: &'static str, value: u64) {
        self.with(|| counter!(name).absolute(value));
    }

    /// Sets one counter of a family, selected by a label, to a value that is kept elsewhere.
    pub fn counter_of(&self, name: &'static str, label: (&'static str, String), value: u64) {
        let labels = [label];
        self.with(|| counter!(name, &labels).absolute(value));
    }

    /// Sets a histogram to counts that are kept elsewhere. Their values are divided by `divisor`,
    /// which changes their unit.
    pub fn histogram(&self, name: &'static str, counts: &HistogramCounts, divisor: f64) {
        let about = HISTOGRAMS.iter().find(|(known, _)| *known == name);
        let about = about.map_or("", |(_, about)| about);
        self.histograms.set(name, about, counts, divisor);
    }

    /// Renders all metrics in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = self.handle.render();
        self.histograms.append_to(&mut text);
        text
    }

    /// Drains the histograms' samples into buckets; called regularly so that they do not grow.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn describe() {
    describe_histogram!(
        "gimlet_request_seconds",
        Unit::Seconds,
        "gRPC requests, by service and method"
    );
    describe_counter!(
        "gimlet_refusals_total",
        "gRPC requests answered with a code other than 0"
    );
    describe_histogram!(
        "gimlet_http_request_seconds",
        Unit::Seconds,
        "Time until the answer to a request of the HTTP/JSON API begins, by operation"
    );
    describe_counter!(
        "gimlet_http_requests_total",
        "Requests to the HTTP/JSON API, by operation and class of the status"
    );
    for (name, text) in GAUGES {
        describe_gauge!(*name, *text);
    }
    for (name, text) in COUNTERS {
        describe_counter!(*name, *text);
    }
}

/// Histograms read at scrape time.
const HISTOGRAMS: &[(&str, &str)] = &[
    (
        "gimlet_batch_sends",
        "Sends in a batch that the storage accepted",
    ),
    (
        "gimlet_batch_seconds",
        "Time of the storage for such a batch",
    ),
];

/// Gauges set at scrape time.
const GAUGES: &[(&str, &str)] = &[
    (
        "gimlet_connections",
        "Signed-in connections that are served",
    ),
    ("gimlet_sockets", "Clients' connections, signed in or not"),
    ("gimlet_http_streams", "Event streams that are open"),
    ("gimlet_send_queue", "Sends that wait for the storage"),
    (
        "gimlet_send_queue_bytes",
        "Bytes of sends that are not answered",
    ),
    (
        "gimlet_job_backlog",
        "Entries of large groups' sends that are accepted and not delivered yet",
    ),
    ("gimlet_job_groups", "Groups with such entries"),
    (
        "gimlet_nodes",
        "Other nodes with connections that are known",
    ),
    (
        "gimlet_disk_free_bytes",
        "Free bytes of the disk under data_dir",
    ),
    (
        "gimlet_mysql_connections",
        "Connections to MySQL, in use or not",
    ),
    (
        "gimlet_mysql_idle_connections",
        "Connections to MySQL that are not in use",
    ),
    ("process_resident_memory_bytes", "Memory of the process"),
    ("process_threads", "Threads of the process"),
    ("process_open_fds", "Open descriptors"),
    ("process_max_fds", "Descriptors that it may open"),
    ("gimlet_ready", "1 while the server is ready"),
    (
        "gimlet_read_only",
        "1 while the disk has too little free space for sends",
    ),
    (
        "gimlet_dependency_up",
        "1 while MySQL or Redis answers this node, by dependency",
    ),
    ("gimlet_uptime_seconds", "Seconds since the start"),
    ("gimlet_role", "1 for each role of the process, by role"),
    (
        "gimlet_webhook_backlog",
        "Events that wait for their delivery, by webhook; 0 on nodes that do not deliver it",
    ),
    (
        "gimlet_webhook_oldest_seconds",
        "Age of the oldest of these events, by webhook",
    ),
    (
        "gimlet_webhook_dead_letters",
        "Events that were given up and are kept, by webhook; 0 on nodes that do not deliver it",
    ),
];

/// Counters read at scrape time.
const COUNTERS: &[(&str, &str)] = &[
    (
        "gimlet_parcels_dropped_total",
        "Pushes to other nodes dropped: their recipients read them from the inbox",
    ),
    (
        "gimlet_batch_failures_total",
        "Batches of sends that the storage did not accept, or whose outcome is not known",
    ),
    (
        "gimlet_business_failures_total",
        "Calls that a remote business role did not answer, or answered with invalid data",
    ),
    (
        "gimlet_dependency_failures_total",
        "Calls that MySQL or Redis failed, by dependency",
    ),
    ("gimlet_files_stored_total", "Files that were stored"),
    (
        "gimlet_file_bytes_stored_total",
        "Bytes of these files, without their thumbnails",
    ),
    (
        "gimlet_files_refused_total",
        "Uploads that were refused or given up",
    ),
    (
        "gimlet_files_removed_total",
        "Files that were removed after files.retention",
    ),
    (
        "gimlet_file_scans_total",
        "Questions to the scanner of files, by verdict; none is no verdict in time",
    ),
    ("gimlet_opened_total", "Clients' connections opened"),
    ("gimlet_closed_total", "Clients' connections closed"),
    ("gimlet_frames_in_total", "Frames received from clients"),
    (
        "gimlet_frames_out_total",
        "Frames written to clients: answers and pushes",
    ),
    (
        "gimlet_socket_sends_total",
        "Sends over sockets that were answered with success",
    ),
    (
        "process_cpu_seconds_total",
        "CPU time of the process, user and system",
    ),
    (
        "gimlet_undecodable_total",
        "Frames that could not be decoded",
    ),
    (
        "gimlet_socket_refusals_total",
        "Packets answered with a code other than 0",
    ),
    (
        "gimlet_wrong_tokens_total",
        "Wrong tokens, over sockets, gRPC and uploads",
    ),
    (
        "gimlet_turned_away_total",
        "Client connections rejected at a limit",
    ),
    (
        "gimlet_lags_total",
        "How often a connection fell behind and began to read its inbox",
    ),
    (
        "gimlet_caught_up_total",
        "How often such a connection had caught up, or was gone",
    ),
    (
        "gimlet_pushed_total",
        "Entries and live messages offered to connections",
    ),
    (
        "gimlet_webhook_delivered_total",
        "Events delivered, by webhook",
    ),
    (
        "gimlet_webhook_failed_total",
        "Attempts to deliver that failed, by webhook",
    ),
    (
        "gimlet_webhook_retries_total",
        "Attempts to deliver after a failure, by webhook",
    ),
    (
        "gimlet_webhook_given_up_total",
        "Events that became dead letters, by webhook",
    ),
    (
        "gimlet_webhook_dropped_total",
        "Events and dead letters removed because there were too many, by webhook",
    ),
    (
        "gimlet_push_sent_total",
        "Notifications that a push service accepted, by provider",
    ),
    (
        "gimlet_push_removed_total",
        "Push addresses removed because the push service does not know them any more, by provider",
    ),
    (
        "gimlet_push_rejected_total",
        "Notifications that a push service refused for good, by provider",
    ),
    (
        "gimlet_push_failed_total",
        "Attempts to notify a device that failed and are repeated, by provider",
    ),
    (
        "gimlet_push_expired_total",
        "Notifications that were too old when they could be sent, by provider",
    ),
    (
        "gimlet_before_send_total",
        "Users' messages by the verdict of message.before_send: allowed, refused, replaced, failed \
         (no verdict), skipped (not asked after repeated failures)",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_servers_count_apart() {
        let (one, two) = (ServerMetrics::new(), ServerMetrics::new());
        one.request("LogicExt", "SendMessage", 10_001, Duration::from_millis(3));
        one.gauge("gimlet_connections", 3);
        let text = one.render();
        assert!(
            text.contains("gimlet_refusals_total{method=\"SendMessage\",code=\"10001\"} 1"),
            "{text}"
        );
        assert!(text.contains("gimlet_connections 3"), "{text}");
        assert!(text.contains("gimlet_request_seconds_bucket"), "{text}");
        assert!(!two.render().contains("SendMessage"));
    }
}
