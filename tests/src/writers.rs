//! Many writers to one user, over two logic nodes at once, and a reader that polls continuously:
//! entries that the reader has received never change, and no entry appears below them.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use futures_util::future::try_join_all;
use gimlet_client::raw::api_error;
use gimlet_client::{DeviceCredentials, pb};
use pb::logic_ext_client::LogicExtClient;
use prost::Message as _;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::cluster::NodeCluster;
use crate::raw::RawClient;
use crate::scenario::GrpcServices;

type AnyResult<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
type LogicClient = LogicExtClient<gimlet_client::raw::RawStatus>;

/// Longest time that the reader may need for the remaining entries after the writers have stopped.
const REST: Duration = Duration::from_secs(10);

/// Result of a run.
#[derive(Debug, Default)]
pub struct WriterRunResult {
    /// Number of answered sends.
    pub answered: usize,
    /// Number of unanswered attempts, which were repeated with their ids.
    pub repeated: usize,
    /// Time from the first send to the last answer.
    pub took: Duration,
    /// Time from each send to its answer, ascending.
    pub times: Vec<Duration>,
    /// Number of pages that the reader requested.
    pub polls: usize,
    /// Number of entries that the reader received.
    pub read: usize,
    /// Number of pages that did not continue where the page before ended, or skipped a seq.
    pub holes: usize,
    /// Number of answered sends that the reader did not receive.
    pub lost: usize,
    /// Number of messages that the reader received twice.
    pub doubled: usize,
}

impl WriterRunResult {
    /// Returns the number of answered sends per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far below what a float holds")]
        let answered = self.answered as f64;
        answered / self.took.as_secs_f64().max(f64::EPSILON)
    }

    /// Returns whether every promise was kept.
    #[must_use]
    pub const fn clean(&self) -> bool {
        self.holes == 0 && self.lost == 0 && self.doubled == 0
    }

    /// Returns the time within which this share of the sends was answered.
    #[must_use]
    pub fn percentile(&self, share: f64) -> Duration {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index of this list"
        )]
        let at = (share * (self.times.len().saturating_sub(1)) as f64) as usize;
        self.times.get(at).copied().unwrap_or_default()
    }
}

/// Runs this many writers for this long, each with one unanswered send at a time, to one user of
/// the cluster. They are spread over its logic nodes; the reader is at its first connect node.
///
/// # Errors
/// Anything other than a send failed.
pub async fn run(
    cluster: &NodeCluster,
    writers: usize,
    for_so_long: Duration,
) -> AnyResult<WriterRunResult> {
    let reader = cluster.sign_up().await;
    let mut nodes = Vec::new();
    for node in &cluster.logic {
        nodes.push(GrpcServices::logic_at(node.ports().grpc).await);
    }
    let mut people = Vec::new();
    for _ in 0..writers {
        people.push(cluster.sign_up().await);
    }
    let connect = cluster.connect.first().ok_or("no connect node")?;
    let eyes = RawClient::sign_in(connect.ports().tcp, &reader).await?;
    let stop = CancellationToken::new();
    let reading = read(eyes, &stop);
    let writing = async {
        let start = Instant::now();
        let each = people.iter().enumerate().map(|(at, who)| {
            let ways = (0..nodes.len()).map(|way| (at + way) % nodes.len());
            let ways: Vec<_> = ways.filter_map(|way| nodes.get(way).cloned()).collect();
            write(ways, who, reader.user_id, start + for_so_long)
        });
        let written = try_join_all(each).await;
        let took = start.elapsed();
        stop.cancel();
        written.map(|written| (written, took))
    };
    let (written, seen) = tokio::join!(writing, reading);
    let ((written, took), seen) = (written?, seen?);
    let mut outcome = WriterRunResult {
        took,
        polls: seen.polls,
        holes: seen.holes,
        read: seen.ids.values().sum(),
        doubled: seen.ids.values().filter(|times| **times > 1).count(),
        ..WriterRunResult::default()
    };
    for (ids, times, repeated) in written {
        outcome.answered += ids.len();
        outcome.repeated += repeated;
        outcome.times.extend(times);
        outcome.lost += ids.iter().filter(|id| !seen.ids.contains_key(*id)).count();
    }
    outcome.times.sort_unstable();
    Ok(outcome)
}

type WriterSamples = (Vec<Vec<u8>>, Vec<Duration>, usize);

/// Sends one message after another until `end`; an unanswered send is repeated at the next node.
async fn write(
    mut ways: Vec<LogicClient>,
    who: &DeviceCredentials,
    to: i64,
    end: Instant,
) -> AnyResult<WriterSamples> {
    let (mut ids, mut times, mut repeated) = (Vec::new(), Vec::new(), 0);
    while Instant::now() < end {
        let text = format!("{}", ids.len());
        let request = pb::SendMessageReq {
            receiver_type: pb::ReceiverType::RtUser.into(),
            receiver_id: to,
            message_type: pb::MessageType::MtText.into(),
            message_content: pb::Text { text: text.clone() }.encode_to_vec().into(),
            send_time: 1,
            is_persist: true,
            client_message_id: text,
            ..pb::SendMessageReq::default()
        };
        let began = Instant::now();
        let answer = loop {
            let way = ways.first_mut().ok_or("no logic node")?;
            match way
                .send_message(GrpcServices::signed(who, request.clone()))
                .await
            {
                Ok(answer) => break answer.into_inner(),
                Err(status) => {
                    let error = api_error(&status);
                    if !matches!(error.code, 4 | 8 | 14) {
                        return Err(error.into());
                    }
                    repeated += 1;
                    ways.rotate_left(1);
                    sleep(Duration::from_millis(20)).await;
                }
            }
        };
        times.push(began.elapsed());
        ids.push(answer.message_id.to_vec());
    }
    Ok((ids, times, repeated))
}

/// Entries that the reader received, and its counts.
#[derive(Default)]
struct ReaderObservations {
    ids: HashMap<Vec<u8>, usize>,
    polls: usize,
    holes: usize,
}

/// Requests the entries above the last one repeatedly, until all have arrived.
async fn read(mut eyes: RawClient, stop: &CancellationToken) -> AnyResult<ReaderObservations> {
    let mut seen = ReaderObservations::default();
    let (mut at, mut end) = (0, None);
    loop {
        // Read before the SYNC: only a page that was requested after the last answer can prove that
        // nothing is missing.
        let last = stop.is_cancelled();
        let page = eyes.sync(at).await?;
        seen.polls += 1;
        for entry in &page {
            at += 1;
            if entry.seq != at {
                seen.holes += 1;
                at = entry.seq;
            }
            *seen.ids.entry(entry.message_id.to_vec()).or_default() += 1;
        }
        // The writers had stopped before this page was requested, and it has nothing new.
        if last && page.is_empty() {
            return Ok(seen);
        }
        let late = *end.get_or_insert_with(Instant::now);
        if !last {
            end = None;
        } else if late.elapsed() > REST {
            return Err("the reader still receives entries 10 s after the writers stopped".into());
        }
    }
}
