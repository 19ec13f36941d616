//! The text of the nodes' state, for people.

use serde_json::{Map, Value, json};

use super::monitor::NodeSummary;
use crate::table::TextTable;

/// Longest text of a state, in characters: the reason of a failure may be long.
const STATE_CHARS: usize = 100;
/// Codes of refusals that are shown of a node.
const SHOWN_CODES: usize = 6;

/// Returns tables with a row for each node.
pub(super) fn text(nodes: &[NodeSummary]) -> String {
    let rows: Vec<_> = nodes.iter().map(row).collect();
    let tables = [
        &["NODE", "ROLES", "UP", "CPU", "MEMORY", "STATE"][..],
        &[
            "NODE",
            "CONNECTIONS",
            "LAGGING",
            "SOCKET SENDS/S",
            "STORED SENDS/S",
            "DELIVERIES/S",
            "QUEUE",
        ],
        &[
            "NODE",
            "GRPC P50",
            "GRPC P99",
            "HTTP P50",
            "HTTP P99",
            "BATCH P50",
            "BATCH P99",
            "SENDS/BATCH",
            "FAILED BATCHES/S",
        ],
        &["NODE", "STORAGE", "WEBHOOKS", "REFUSALS/S BY CODE"],
    ];
    let tables = tables.iter().map(|columns| {
        let mut table = TextTable::new(columns);
        for row in &rows {
            table.push(row, columns);
        }
        table.text()
    });
    tables.collect::<Vec<_>>().join("\n\n")
}

/// Returns the cells of a node, by the names of their columns.
fn row(summary: &NodeSummary) -> Value {
    let figures = &summary.figures;
    let number = |name: &str| figures.get(name).and_then(Value::as_f64);
    let latency = |name: &str, share: &str| {
        let value = figures.get(name).and_then(|it| it.get(share)?.as_f64());
        value.map(duration)
    };
    json!({
        "NODE": summary.node,
        "STATE": state(summary),
        "ROLES": figures.get("roles"),
        "UP": number("uptime_seconds").map(uptime),
        "CPU": number("cpu_cores").map(|cores| format!("{:.0}%", cores * 100.0)),
        "MEMORY": number("memory_bytes").map(|bytes| format!("{:.0} MiB", bytes / 1_048_576.0)),
        "CONNECTIONS": figures.get("connections"),
        "LAGGING": figures.get("lagging"),
        "SOCKET SENDS/S": number("socket_sends_per_second").map(rate),
        "STORED SENDS/S": number("stored_sends_per_second").map(rate),
        "DELIVERIES/S": number("deliveries_per_second").map(rate),
        "QUEUE": figures.get("send_queue"),
        "GRPC P50": latency("grpc_seconds", "p50"),
        "GRPC P99": latency("grpc_seconds", "p99"),
        "HTTP P50": latency("http_seconds", "p50"),
        "HTTP P99": latency("http_seconds", "p99"),
        "BATCH P50": latency("batch_seconds", "p50"),
        "BATCH P99": latency("batch_seconds", "p99"),
        "SENDS/BATCH": number("sends_per_batch").map(rate),
        "FAILED BATCHES/S": number("batch_failures_per_second").map(rate),
        "STORAGE": storage(figures),
        "WEBHOOKS": webhooks(figures),
        "REFUSALS/S BY CODE": refusals(figures),
    })
}

fn state(summary: &NodeSummary) -> String {
    // Failures that do not stop the node stand on lines of their own.
    let lines: Vec<_> = summary.state.lines().collect();
    let text = lines.join("; ");
    let text = if summary.answers {
        text
    } else {
        format!("NO ANSWER: {text}")
    };
    text.chars().take(STATE_CHARS).collect()
}

fn storage(figures: &Map<String, Value>) -> String {
    let mut parts = Vec::new();
    if figures.get("read_only").and_then(Value::as_bool) == Some(true) {
        parts.push("read-only".to_owned());
    }
    let failures = figures.get("storage_failures_per_second");
    for (name, up) in entries(figures, "storage_up") {
        let failed = failures.and_then(|it| it.get(name)?.as_f64());
        let state = if up.as_bool() == Some(true) {
            "up"
        } else {
            "DOWN"
        };
        let failed = failed.filter(|rate| *rate > 0.0);
        let failed = failed.map_or_else(String::new, |it| format!(" ({} errors/s)", rate(it)));
        parts.push(format!("{name} {state}{failed}"));
    }
    parts.join(", ")
}

fn webhooks(figures: &Map<String, Value>) -> String {
    let parts = entries(figures, "webhooks").map(|(name, hook)| {
        let count = |field: &str| hook.get(field).and_then(Value::as_i64).unwrap_or_default();
        let (waiting, dead) = (count("backlog"), count("dead_letters"));
        let oldest = count("oldest_seconds");
        format!("{name}: {waiting} waiting, oldest {oldest} s, {dead} dead")
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// Returns the codes with the most refusals.
fn refusals(figures: &Map<String, Value>) -> String {
    let rates = entries(figures, "refusals_per_second");
    let mut rates: Vec<_> = rates
        .filter_map(|(code, rate)| Some((code, rate.as_f64()?)))
        .collect();
    rates.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let shown = rates.iter().take(SHOWN_CODES);
    let shown = shown.map(|(code, it)| format!("{code}: {}", rate(*it)));
    shown.collect::<Vec<_>>().join(", ")
}

/// Returns the fields of an object among the figures.
fn entries<'a>(
    figures: &'a Map<String, Value>,
    name: &str,
) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
    let object = figures.get(name).and_then(Value::as_object);
    object.into_iter().flatten()
}

fn rate(per_second: f64) -> String {
    if per_second >= 10.0 || per_second == 0.0 {
        format!("{per_second:.0}")
    } else {
        format!("{per_second:.1}")
    }
}

fn duration(seconds: f64) -> String {
    if seconds >= 1.0 {
        format!("{seconds:.1} s")
    } else if seconds >= 0.01 {
        format!("{:.0} ms", seconds * 1_000.0)
    } else {
        format!("{:.1} ms", seconds * 1_000.0)
    }
}

fn uptime(seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time since the start"
    )]
    let seconds = seconds as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(figures: Value) -> NodeSummary {
        let Value::Object(figures) = figures else {
            panic!("figures are an object");
        };
        NodeSummary {
            node: "http://a:8086".into(),
            answers: true,
            is_ready: true,
            state: "ready\nsearch fails".into(),
            figures,
        }
    }

    #[test]
    fn a_node_has_a_row_in_each_table() {
        let summary = summary(json!({
            "roles": ["connect", "logic"], "uptime_seconds": 3_725, "cpu_cores": 0.126,
            "memory_bytes": 89_128_960, "connections": 12, "lagging": 1,
            "socket_sends_per_second": 3.5, "stored_sends_per_second": 1_234.4,
            "deliveries_per_second": 0.0, "send_queue": 0,
            "grpc_seconds": {"p50": 0.00042, "p99": 1.31},
            "batch_seconds": {"p50": 0.012, "p99": null}, "sends_per_batch": 7.5,
            "storage_up": {"mysql": true, "redis": false},
            "storage_failures_per_second": {"redis": 2.0}, "read_only": true,
            "webhooks": {"crm": {"backlog": 12, "oldest_seconds": 3, "dead_letters": 1}},
            "refusals_per_second": {"8": 0.5, "10017": 3.0},
        }));
        let text = text(&[summary]);
        let words: Vec<_> = text.split_whitespace().collect();
        let text = words.join(" ");
        for words in [
            "connect, logic 1h 2m 13% 85 MiB ready; search fails",
            "http://a:8086 12 1 3.5 1234 0 0",
            "http://a:8086 0.4 ms 1.3 s - - 12 ms - 7.5 -",
            "read-only, mysql up, redis DOWN (2.0 errors/s)",
            "crm: 12 waiting, oldest 3 s, 1 dead",
            "10017: 3.0, 8: 0.5",
        ] {
            assert!(text.contains(words), "{words:?} is not in\n{text}");
        }
        assert_eq!(text.matches("http://a:8086").count(), 4);
    }

    #[test]
    fn a_node_that_does_not_answer_is_shown_as_such_and_steers_nothing() {
        let mut gone = summary(json!({}));
        gone.answers = false;
        gone.state = format!("cannot\u{1b}[2J connect {}", "x".repeat(500));
        let text = text(&[gone]);
        assert!(
            text.contains("NO ANSWER: cannot\u{fffd}[2J connect xx"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() < 200));
    }

    #[test]
    fn times_are_short() {
        for (seconds, want) in [
            (5.0, "5s"),
            (65.0, "1m 5s"),
            (3_600.0, "1h 0m"),
            (90_000.0, "1d 1h"),
        ] {
            assert_eq!(uptime(seconds), want);
        }
    }
}
