//! Reads the ops listeners of nodes, again and again.

use std::time::Duration;

use gimlet_outbound::{OutboundClient, OutboundError, OutboundResponse, OutboundUrl};
use http::HeaderMap;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::Url;

use super::exposition::MetricSet;
use super::reading::{NodeReading, ReadingHistory};
use crate::error::CommandError;

/// Time for the answers of a node. A node that stops answering is shown as such after this time and
/// the time between two readings.
pub(super) const READING_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Result of a reading: the reason if there is none.
type ReadingResult = Result<NodeReading, String>;

/// Nodes with their last readings.
#[derive(Debug)]
pub(super) struct NodeMonitor {
    http: OutboundClient,
    nodes: Vec<MonitoredNode>,
    /// Readings under way, with the position of their node.
    readings: JoinSet<(usize, ReadingResult)>,
}

#[derive(Debug)]
struct MonitoredNode {
    address: OpsAddress,
    history: ReadingHistory,
    /// Reason that the newest reading failed.
    failure: Option<String>,
    is_being_read: bool,
}

/// Address of an ops listener.
#[derive(Clone, Debug)]
pub(super) struct OpsAddress {
    base: Url,
    metrics: OutboundUrl,
    ready: OutboundUrl,
}

impl OpsAddress {
    /// Makes the address of an ops listener.
    ///
    /// # Errors
    /// Nothing can be called there.
    pub(super) fn new(base: Url) -> Result<Self, CommandError> {
        let below = |name: &str| {
            let mut url = base.clone();
            if let Ok(mut path) = url.path_segments_mut() {
                path.pop_if_empty().push(name);
            }
            let wrong =
                |error| CommandError::Usage(format!("{base} is not an address to call: {error}"));
            url.as_str().parse::<OutboundUrl>().map_err(wrong)
        };
        let (metrics, ready) = (below("metrics")?, below("readyz")?);
        Ok(Self {
            base,
            metrics,
            ready,
        })
    }
}

/// State of a node and its figures.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NodeSummary {
    /// Address of the node, without a slash at its end.
    pub(super) node: String,
    /// `true` if the newest reading was answered.
    pub(super) answers: bool,
    /// `true` if the node serves clients.
    pub(super) is_ready: bool,
    /// State as the node says it, or the reason that it does not answer.
    pub(super) state: String,
    /// The figures; none while the node does not answer.
    pub(super) figures: Map<String, Value>,
}

impl NodeSummary {
    /// Returns the summary as JSON.
    pub(super) fn json(&self) -> Value {
        let mut json = self.figures.clone();
        json.insert("node".into(), json!(self.node));
        json.insert("answers".into(), json!(self.answers));
        json.insert("ready".into(), json!(self.is_ready));
        json.insert("state".into(), json!(self.state));
        Value::Object(json)
    }
}

impl NodeMonitor {
    /// Makes a monitor of these nodes, which are not read yet.
    pub(super) fn new(http: OutboundClient, addresses: Vec<OpsAddress>) -> Self {
        let nodes = addresses.into_iter().map(|address| MonitoredNode {
            address,
            history: ReadingHistory::default(),
            failure: Some("not read yet".to_owned()),
            is_being_read: false,
        });
        Self {
            http,
            nodes: nodes.collect(),
            readings: JoinSet::new(),
        }
    }

    /// Begins a reading of every node that is not being read. A slow node does not delay the others.
    pub(super) fn begin(&mut self) {
        for (at, node) in self.nodes.iter_mut().enumerate() {
            if std::mem::replace(&mut node.is_being_read, true) {
                continue;
            }
            let (http, address) = (self.http.clone(), node.address.clone());
            self.readings
                .spawn(async move { (at, read(&http, &address).await) });
        }
    }

    /// Waits until a reading has ended, and keeps it; `false` if none is under way. Dropping the
    /// future loses nothing.
    pub(super) async fn end_one(&mut self) -> bool {
        let Some(ended) = self.readings.join_next().await else {
            return false;
        };
        // A reading does not panic, and none is cancelled before the monitor is dropped.
        if let Ok((at, result)) = ended
            && let Some(node) = self.nodes.get_mut(at)
        {
            node.keep(result);
        }
        true
    }

    /// Reads every node once.
    pub(super) async fn read_all(&mut self) {
        self.begin();
        while self.end_one().await {}
    }

    /// Returns the state of each node, in the order of their addresses.
    pub(super) fn summaries(&self) -> Vec<NodeSummary> {
        self.nodes.iter().map(MonitoredNode::summary).collect()
    }
}

impl MonitoredNode {
    fn keep(&mut self, result: ReadingResult) {
        self.is_being_read = false;
        match result {
            Ok(reading) => {
                self.history.add(reading);
                self.failure = None;
            }
            Err(reason) => {
                self.history.clear();
                self.failure = Some(reason);
            }
        }
    }

    fn summary(&self) -> NodeSummary {
        let newest = self.history.newest();
        let state = newest.map_or_else(String::new, |reading| reading.state.clone());
        NodeSummary {
            node: self.address.base.as_str().trim_end_matches('/').to_owned(),
            answers: self.failure.is_none(),
            is_ready: newest.is_some_and(|reading| reading.is_ready),
            state: self.failure.clone().unwrap_or(state),
            figures: self.history.figures(),
        }
    }
}

/// Reads the metrics and the state of a node.
async fn read(http: &OutboundClient, address: &OpsAddress) -> ReadingResult {
    let get = |url| http.get(url, HeaderMap::new());
    // At the same time, so that both have one deadline.
    let both = tokio::try_join!(get(&address.metrics), get(&address.ready));
    let (metrics, ready) = both.map_err(|error| reason(&error))?;
    let at = Instant::now();
    let metrics = metrics_of(&metrics)
        .ok_or_else(|| format!("{} is not the ops listener of a gimlet", address.base))?;
    Ok(NodeReading {
        at,
        metrics,
        is_ready: ready.status.is_success(),
        state: String::from_utf8_lossy(&ready.body).trim().to_owned(),
    })
}

/// Returns the metrics of an answer; `None` if it has none of gimlet.
fn metrics_of(answer: &OutboundResponse) -> Option<MetricSet> {
    let text = std::str::from_utf8(&answer.body).ok();
    let text = text.filter(|_| answer.status.is_success())?;
    let metrics = MetricSet::parse(text).ok()?;
    metrics.family("gimlet_ready").is_some().then_some(metrics)
}

/// Returns the reason that a node was not read.
fn reason(error: &OutboundError) -> String {
    match error {
        OutboundError::Unencrypted { host, address } => format!(
            "{host} is the public address {address}, which is called by https:// only: use that, or a \
             tunnel to the node's machine"
        ),
        OutboundError::RefusedAddress { host, address } => {
            format!("{host} is the address {address}, which is not one of a node")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;

    use super::*;

    fn answer(status: u16, body: &str) -> OutboundResponse {
        OutboundResponse {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    #[test]
    fn only_gimlets_metrics_are_read() {
        assert!(metrics_of(&answer(200, "gimlet_ready 0\n")).is_some());
        for (status, body) in [
            (404, "gimlet_ready 1\n"),
            (200, ""),
            (200, "up 1\n"),
            (200, "<html>"),
            (200, "gimlet_ready 1\n<html>"),
        ] {
            assert!(
                metrics_of(&answer(status, body)).is_none(),
                "{status} {body}"
            );
        }
    }

    #[test]
    fn an_address_may_have_a_path() {
        for (base, metrics) in [
            ("http://127.0.0.1:8086", "http://127.0.0.1:8086/metrics"),
            ("https://a/ops/", "https://a/ops/metrics"),
        ] {
            let address = OpsAddress::new(base.parse().unwrap()).unwrap();
            assert_eq!(address.metrics.as_str(), metrics);
        }
    }
}
