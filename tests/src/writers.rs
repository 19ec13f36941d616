//! Many writers to one user, over two logic nodes at once, and a reader that polls continuously:
//! entries that the reader has received never change, and no entry appears below them.

use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use gimlet_client::raw::api_error;
use gimlet_client::{DeviceCredentials, pb};
use gimlet_judge::DeliveryJudge;
use gimlet_kit::wire::RawClient;
use pb::logic_ext_client::LogicExtClient;
use prost::Message as _;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::cluster::NodeCluster;
use crate::judging::{RunVerdict, records};
use crate::scenario::GrpcServices;

type AnyResult<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
type LogicClient = LogicExtClient<gimlet_client::raw::RawStatus>;

/// Longest time that the reader may need for the remaining entries after the writers have stopped.
const REST: Duration = Duration::from_secs(10);

/// Result of a run.
#[derive(Debug, Default)]
pub struct WriterRunResult {
    /// Result of the check of every answered send.
    pub verdict: RunVerdict,
    /// Number of unanswered attempts, which were repeated with their ids.
    pub repeated: usize,
    /// Time from the first send to the last answer.
    pub took: Duration,
    /// Time from each send to its answer, ascending.
    pub times: Vec<Duration>,
    /// Number of pages that the reader requested.
    pub polls: usize,
}

impl WriterRunResult {
    /// Returns the number of answered sends per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far below what a float holds")]
        let answered = self.verdict.answered as f64;
        answered / self.took.as_secs_f64().max(f64::EPSILON)
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
    let judge = Mutex::default();
    let reading = read(eyes, reader.user_id, &judge, &stop);
    let writing = async {
        let start = Instant::now();
        let each = people.iter().enumerate().map(|(at, who)| {
            let ways = (0..nodes.len()).map(|way| (at + way) % nodes.len());
            let ways: Vec<_> = ways.filter_map(|way| nodes.get(way).cloned()).collect();
            write(ways, who, reader.user_id, start + for_so_long, &judge)
        });
        let written = try_join_all(each).await;
        let took = start.elapsed();
        stop.cancel();
        written.map(|written| (written, took))
    };
    let (written, polls) = tokio::join!(writing, reading);
    let ((written, took), polls) = (written?, polls?);
    let mut outcome = WriterRunResult {
        verdict: RunVerdict::of(&lock(&judge)),
        took,
        polls,
        ..WriterRunResult::default()
    };
    for (times, repeated) in written {
        outcome.repeated += repeated;
        outcome.times.extend(times);
    }
    outcome.times.sort_unstable();
    Ok(outcome)
}

type WriterSamples = (Vec<Duration>, usize);

fn lock(judge: &Mutex<DeliveryJudge>) -> MutexGuard<'_, DeliveryJudge> {
    judge.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends one message after another until `end`; an unanswered send is repeated at the next node.
async fn write(
    mut ways: Vec<LogicClient>,
    who: &DeviceCredentials,
    to: i64,
    end: Instant,
    judge: &Mutex<DeliveryJudge>,
) -> AnyResult<WriterSamples> {
    let (mut times, mut repeated) = (Vec::new(), 0);
    let writer = u64::try_from(who.user_id)?;
    while Instant::now() < end {
        let text = format!("{} of {writer}", times.len());
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
        let content = &request.message_content;
        lock(judge).begin_send(writer, content, &[who.user_id, to]);
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
        lock(judge).confirm_send(content, Some(&answer.message_id), &[to]);
    }
    Ok((times, repeated))
}

/// Requests the entries above the last one repeatedly, until all have arrived; returns the number of
/// pages.
async fn read(
    mut eyes: RawClient,
    reader: i64,
    judge: &Mutex<DeliveryJudge>,
    stop: &CancellationToken,
) -> AnyResult<usize> {
    let (mut polls, mut end) = (0, None);
    loop {
        // Read before the SYNC: only a page that was requested after the last answer can prove that
        // nothing is missing.
        let last = stop.is_cancelled();
        let seen = lock(judge).seen(reader);
        let page = eyes.sync(seen).await?;
        polls += 1;
        lock(judge).read(reader, records(&page));
        // The writers had stopped before this page was requested, and it has nothing new.
        if last && page.is_empty() {
            return Ok(polls);
        }
        let late = *end.get_or_insert_with(Instant::now);
        if !last {
            end = None;
        } else if late.elapsed() > REST {
            return Err("the reader still receives entries 10 s after the writers stopped".into());
        }
    }
}
