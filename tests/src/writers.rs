//! Many writers to one user, over two logic nodes at once, and a reader who polls as fast as it can:
//! what a reader was given never changes, and nothing appears below it.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use futures_util::future::try_join_all;
use gimlet_client::raw::api_error;
use gimlet_client::{Credentials, pb};
use pb::logic_ext_client::LogicExtClient;
use prost::Message as _;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::raw::Raw;
use crate::scenario::Calls;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
type Logic = LogicExtClient<gimlet_client::raw::RawStatus>;

/// How long the reader may need for what is left when the writers have stopped.
const REST: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Sends that were answered.
    pub answered: usize,
    /// Attempts that were not, and were repeated with their ids.
    pub repeated: usize,
    /// From the first send to the last answer.
    pub took: Duration,
    /// The time from a send to its answer, ascending.
    pub times: Vec<Duration>,
    /// Pages that the reader asked for.
    pub polls: usize,
    /// Entries that it was given.
    pub read: usize,
    /// Pages that did not go on where the one before ended, or skipped a seq.
    pub holes: usize,
    /// Answered sends that it was not given.
    pub lost: usize,
    /// Messages that it was given twice.
    pub doubled: usize,
}

impl Outcome {
    /// Answered sends per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far below what a float holds")]
        let answered = self.answered as f64;
        answered / self.took.as_secs_f64().max(f64::EPSILON)
    }

    /// Whether every promise was kept.
    #[must_use]
    pub const fn clean(&self) -> bool {
        self.holes == 0 && self.lost == 0 && self.doubled == 0
    }

    /// The time that this share of the sends was answered within.
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

/// Has so many writers send for so long, each with one send under way, to one user of the cluster.
/// They are spread over its logic nodes; the reader is at its first connect node.
///
/// # Errors
/// Something beside the sends failed.
pub async fn run(cluster: &Cluster, writers: usize, for_so_long: Duration) -> Result<Outcome> {
    let reader = cluster.sign_up().await;
    let mut nodes = Vec::new();
    for node in &cluster.logic {
        nodes.push(Calls::logic_at(node.ports().grpc).await);
    }
    let mut people = Vec::new();
    for _ in 0..writers {
        people.push(cluster.sign_up().await);
    }
    let connect = cluster.connect.first().ok_or("no connect node")?;
    let eyes = Raw::sign_in(connect.ports().tcp, &reader).await?;
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
    let mut outcome = Outcome {
        took,
        polls: seen.polls,
        holes: seen.holes,
        read: seen.ids.values().sum(),
        doubled: seen.ids.values().filter(|times| **times > 1).count(),
        ..Outcome::default()
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

type Written = (Vec<Vec<u8>>, Vec<Duration>, usize);

/// Sends one after the other until the end; what is not answered is repeated at the next node.
async fn write(mut ways: Vec<Logic>, who: &Credentials, to: i64, end: Instant) -> Result<Written> {
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
            match way.send_message(Calls::signed(who, request.clone())).await {
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

/// What the reader saw.
#[derive(Default)]
struct Seen {
    ids: HashMap<Vec<u8>, usize>,
    polls: usize,
    holes: usize,
}

/// Asks for what is above the last entry, again and again, until everything is there.
async fn read(mut eyes: Raw, stop: &CancellationToken) -> Result<Seen> {
    let mut seen = Seen::default();
    let (mut at, mut end) = (0, None);
    loop {
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
        // The writers have stopped, and then there was nothing new.
        if last && page.is_empty() {
            return Ok(seen);
        }
        let late = *end.get_or_insert_with(Instant::now);
        if !last {
            end = None;
        } else if late.elapsed() > REST {
            return Err("the reader is given more and more".into());
        }
    }
}
