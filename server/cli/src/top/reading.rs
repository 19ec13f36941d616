//! A reading of a node, and the figures that follow from the last readings.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::exposition::MetricSet;
use super::growth::{BucketCounts, MetricGrowth};

/// Readings that are kept of a node: latencies are those of the last ten seconds, because a second
/// has too few values for a p99.
const HISTORY_READINGS: usize = 11;

/// Metrics and state of a node as of one moment.
#[derive(Clone, Debug)]
pub(super) struct NodeReading {
    pub(super) at: Instant,
    pub(super) metrics: MetricSet,
    pub(super) is_ready: bool,
    /// Text of `/readyz`: the state, and its reason.
    pub(super) state: String,
}

impl NodeReading {
    /// Compares this reading with an earlier one; `None` without one.
    fn growth_since<'a>(&'a self, before: Option<&'a Self>) -> Option<MetricGrowth<'a>> {
        let before = before?;
        let seconds = self.at.duration_since(before.at).as_secs_f64();
        MetricGrowth::new(&before.metrics, &self.metrics, seconds)
    }
}

/// The last readings of a node, the newest one last.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadingHistory(VecDeque<NodeReading>);

impl ReadingHistory {
    /// Adds a reading.
    pub(super) fn add(&mut self, reading: NodeReading) {
        let uptime = |reading: &NodeReading| reading.metrics.sum("gimlet_uptime_seconds");
        let is_restarted = self.0.back().and_then(uptime) > uptime(&reading);
        if is_restarted {
            // Counters may be above those of the former process already.
            self.0.clear();
        }
        if self.0.len() == HISTORY_READINGS {
            self.0.pop_front();
        }
        self.0.push_back(reading);
    }

    /// Forgets all readings: rates over a time without an answer say nothing about now.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the newest reading.
    pub(super) fn newest(&self) -> Option<&NodeReading> {
        self.0.back()
    }

    /// Returns the figures of the node as JSON; none without a reading. A figure that is not known
    /// is null: one of a role that the node does not have, or a rate after a single reading.
    pub(super) fn figures(&self) -> Map<String, Value> {
        let Some(newest) = self.newest() else {
            return Map::new();
        };
        let figures = NodeFigures {
            metrics: &newest.metrics,
            last_second: newest.growth_since(self.0.iter().nth_back(1)),
            all: newest.growth_since(self.0.front()),
        };
        figures.json()
    }
}

/// Figures of a node: its values now, and their growth.
struct NodeFigures<'a> {
    metrics: &'a MetricSet,
    last_second: Option<MetricGrowth<'a>>,
    /// Growth over all readings that are kept.
    all: Option<MetricGrowth<'a>>,
}

impl NodeFigures<'_> {
    fn json(&self) -> Map<String, Value> {
        let roles = self.metrics.sums_by("gimlet_role", "role");
        let roles: Vec<_> = roles.into_keys().collect();
        let dependencies = self.metrics.sums_by("gimlet_dependency_up", "dependency");
        let up = dependencies.into_iter().map(|(name, up)| (name, up > 0.0));
        let batch_sends = self.histogram("gimlet_batch_sends");
        let fields = [
            ("roles", Value::from(roles)),
            ("uptime_seconds", self.now("gimlet_uptime_seconds")),
            ("cpu_cores", self.rate("process_cpu_seconds_total")),
            ("memory_bytes", self.now("process_resident_memory_bytes")),
            ("connections", self.now("gimlet_connections")),
            ("lagging", self.lagging()),
            (
                "socket_sends_per_second",
                self.rate("gimlet_socket_sends_total"),
            ),
            (
                "stored_sends_per_second",
                self.rate("gimlet_batch_sends_sum"),
            ),
            ("deliveries_per_second", self.rate("gimlet_pushed_total")),
            ("send_queue", self.now("gimlet_send_queue")),
            ("grpc_seconds", self.quantiles("gimlet_request_seconds")),
            (
                "http_seconds",
                self.quantiles("gimlet_http_request_seconds"),
            ),
            ("batch_seconds", self.quantiles("gimlet_batch_seconds")),
            (
                "sends_per_batch",
                batch_sends.as_ref().and_then(BucketCounts::mean).into(),
            ),
            (
                "batch_failures_per_second",
                self.rate("gimlet_batch_failures_total"),
            ),
            ("storage_up", Value::Object(up.map(field).collect())),
            (
                "storage_failures_per_second",
                self.rates_by("gimlet_dependency_failures_total", "dependency"),
            ),
            ("read_only", self.switch("gimlet_read_only")),
            ("refusals_per_second", self.refusals()),
            ("webhooks", self.webhooks()),
        ];
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn now(&self, name: &str) -> Value {
        self.metrics.sum(name).map(whole).into()
    }

    fn switch(&self, name: &str) -> Value {
        self.metrics.sum(name).map(|value| value > 0.0).into()
    }

    fn rate(&self, name: &str) -> Value {
        self.last_second.and_then(|it| it.rate(name)).into()
    }

    fn rates_by(&self, name: &str, label: &str) -> Value {
        let Some(growth) = self.last_second else {
            return Value::Null;
        };
        let rates = growth.rates_by(name, label).into_iter();
        Value::Object(rates.map(field).collect())
    }

    fn histogram(&self, name: &str) -> Option<BucketCounts> {
        self.all?.histogram(name)
    }

    fn quantiles(&self, name: &str) -> Value {
        let counts = self.histogram(name);
        let quantile = |share| counts.as_ref().and_then(|it| it.quantile(share));
        json!({"p50": quantile(0.5), "p99": quantile(0.99)})
    }

    /// Returns the number of connections that read their inbox instead of getting pushes.
    fn lagging(&self) -> Value {
        let sum = |name| self.metrics.sum(name);
        let lags = sum("gimlet_lags_total").zip(sum("gimlet_caught_up_total"));
        lags.map(|(lags, ended)| whole((lags - ended).max(0.0)))
            .into()
    }

    /// Returns the refusals of sockets and of gRPC by their code. Codes without refusals in the last
    /// second are left out.
    fn refusals(&self) -> Value {
        let Some(growth) = self.last_second else {
            return Value::Null;
        };
        let mut rates = growth.rates_by("gimlet_socket_refusals_total", "code");
        for (code, rate) in growth.rates_by("gimlet_refusals_total", "code") {
            *rates.entry(code).or_default() += rate;
        }
        let rates = rates.into_iter().filter(|(_, rate)| *rate > 0.0);
        Value::Object(rates.map(field).collect())
    }

    fn webhooks(&self) -> Value {
        let by_hook = |name: &str| self.metrics.sums_by(name, "webhook");
        let backlog = by_hook("gimlet_webhook_backlog");
        let (oldest, dead) = (
            by_hook("gimlet_webhook_oldest_seconds"),
            by_hook("gimlet_webhook_dead_letters"),
        );
        let hooks = backlog.into_iter().map(|(hook, waiting)| {
            let figures = json!({
                "backlog": whole(waiting),
                "oldest_seconds": oldest.get(&hook).copied().map(whole),
                "dead_letters": dead.get(&hook).copied().map(whole),
            });
            (hook, figures)
        });
        Value::Object(hooks.collect())
    }
}

fn field(entry: (String, impl Into<Value>)) -> (String, Value) {
    (entry.0, entry.1.into())
}

/// Returns a number of things without a fraction, which the format of the metrics has for all numbers.
fn whole(value: f64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a larger number stays at the largest one"
    )]
    let whole = value.round() as i64;
    whole
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Returns the figures after these metrics, read a second apart.
    fn figures(readings: &[&str]) -> Value {
        let mut history = ReadingHistory::default();
        let began = Instant::now();
        for (at, text) in (0_u64..).zip(readings) {
            history.add(NodeReading {
                at: began + Duration::from_secs(at),
                metrics: MetricSet::parse(text).unwrap(),
                is_ready: true,
                state: "ready".into(),
            });
        }
        Value::Object(history.figures())
    }

    #[test]
    fn rates_are_those_of_the_last_second_and_values_those_of_now() {
        let figures = figures(&[
            "gimlet_pushed_total 0\ngimlet_connections 9",
            "gimlet_pushed_total 100\ngimlet_connections 8",
            "gimlet_role{role=\"connect\"} 1\ngimlet_role{role=\"logic\"} 1\ngimlet_pushed_total 130\n\
             gimlet_connections 7\ngimlet_lags_total 5\ngimlet_caught_up_total 3\n\
             gimlet_socket_refusals_total{code=\"8\"} 2\ngimlet_refusals_total{method=\"a\",code=\"8\"} 1\n\
             gimlet_refusals_total{method=\"a\",code=\"4\"} 0\n\
             gimlet_dependency_up{dependency=\"mysql\"} 0\ngimlet_dependency_failures_total{dependency=\"mysql\"} 4\n\
             gimlet_webhook_backlog{webhook=\"crm\"} 12\ngimlet_webhook_oldest_seconds{webhook=\"crm\"} 3\n\
             gimlet_webhook_dead_letters{webhook=\"crm\"} 1\ngimlet_read_only 1\n",
        ]);
        assert_eq!(figures["roles"], json!(["connect", "logic"]));
        assert_eq!(figures["connections"], 7);
        assert_eq!(figures["lagging"], 2);
        assert_eq!(figures["deliveries_per_second"], 30.0);
        assert_eq!(figures["refusals_per_second"], json!({"8": 3.0}));
        assert_eq!(figures["storage_up"], json!({"mysql": false}));
        assert_eq!(
            figures["storage_failures_per_second"],
            json!({"mysql": 4.0})
        );
        let hook = json!({"backlog": 12, "oldest_seconds": 3, "dead_letters": 1});
        assert_eq!(figures["webhooks"], json!({"crm": hook}));
        assert_eq!(figures["read_only"], true);
    }

    #[test]
    fn latencies_and_batches_are_those_of_all_readings() {
        let histogram = |low: u32, high: u32, sends: u32| {
            format!(
                "gimlet_batch_seconds_bucket{{le=\"0.001\"}} {low}\n\
                 gimlet_batch_seconds_bucket{{le=\"0.002\"}} {high}\n\
                 gimlet_batch_seconds_bucket{{le=\"+Inf\"}} {high}\n\
                 gimlet_batch_sends_bucket{{le=\"+Inf\"}} {high}\ngimlet_batch_sends_sum {sends}\n"
            )
        };
        let readings = [histogram(0, 0, 0), histogram(2, 2, 10), histogram(2, 4, 40)];
        let readings: Vec<_> = readings.iter().map(String::as_str).collect();
        let figures = figures(&readings);
        assert_eq!(figures["batch_seconds"]["p50"], 0.001);
        assert_eq!(figures["sends_per_batch"], 10.0);
        assert_eq!(figures["stored_sends_per_second"], 30.0);
        assert_eq!(figures["grpc_seconds"], json!({"p50": null, "p99": null}));
    }

    #[test]
    fn figures_that_are_not_known_are_null() {
        let figures = figures(&["gimlet_uptime_seconds 3"]);
        for unknown in [
            "connections",
            "lagging",
            "deliveries_per_second",
            "sends_per_batch",
            "refusals_per_second",
            "read_only",
        ] {
            assert_eq!(figures[unknown], Value::Null, "{unknown}");
        }
        assert_eq!(figures["uptime_seconds"], 3);
        assert!(ReadingHistory::default().figures().is_empty());
    }

    #[test]
    fn after_a_restart_nothing_is_compared_with_the_former_process() {
        let before = "gimlet_uptime_seconds 90\ngimlet_pushed_total 5";
        let after = "gimlet_uptime_seconds 1\ngimlet_pushed_total 1000";
        let restarted = figures(&[before, after]);
        assert_eq!(restarted["deliveries_per_second"], Value::Null);
        let next = "gimlet_uptime_seconds 2\ngimlet_pushed_total 1001";
        let figures = figures(&[before, after, next]);
        assert_eq!(figures["deliveries_per_second"], 1.0);
    }

    #[test]
    fn the_history_has_a_bound() {
        let mut history = ReadingHistory::default();
        for second in 0..100 {
            history.add(NodeReading {
                at: Instant::now(),
                metrics: MetricSet::parse(&format!("gimlet_uptime_seconds {second}")).unwrap(),
                is_ready: true,
                state: String::new(),
            });
        }
        assert_eq!(history.0.len(), HISTORY_READINGS);
    }
}
