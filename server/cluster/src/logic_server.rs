//! `LogicNode`: the logic role for connect nodes, in front of core's `LogicRole`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, FuturesUnordered, StreamExt as _};
use futures_util::{Stream, future::BoxFuture};
use gimlet_core::error::RequestRefusal;
use gimlet_core::id::Epoch;
use gimlet_core::logic::LogicRole;
use gimlet_core::page::PageLimit;
use gimlet_core::send_future::{SendFuture, SendReceipt};
use gimlet_core::seq::Seq;
use gimlet_proto::node;
use gimlet_proto::node::logic_node_server::LogicNode;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::call::{ClusterId, check_caller};
use super::convert::{self, DecodeError, MessageForm};
use super::refusal::encode;

/// Largest number of sends in flight of one connect node; beyond it its stream is not read. It is
/// more than the batch writer queues (`limits.send_queue`, 8,192) and has in flight: an overload is
/// refused there, fairly between users, and does not hold up the stream for all.
const MAX_SENDS_IN_FLIGHT: usize = 16_384;
/// Largest number of bytes of these sends; above `limits.send_queue_bytes`, 64 MiB, for the same
/// reason.
const MAX_BYTES_IN_FLIGHT: usize = 80 << 20;
/// Answers that may wait to be written.
const ANSWER_QUEUE_LEN: usize = 1_024;
/// Time for which a node that is shutting down still reads sends, until its callers know of it.
const SHUTDOWN_READ_TIME: Duration = Duration::from_secs(2);

/// The service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogicServer {
    logic: Arc<dyn LogicRole>,
    cluster: ClusterId,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl LogicServer {
    /// Serves this until `stop`. Streams of sends are tasks of `tasks` and end by themselves after
    /// the stop.
    #[must_use]
    pub fn new(
        logic: Arc<dyn LogicRole>,
        cluster: ClusterId,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            logic,
            cluster,
            tasks,
            stop,
        }
    }

    /// Returns the body of a request, if it comes from a node of this cluster that speaks this
    /// version.
    fn open<T>(&self, request: Request<T>) -> Result<T, Status> {
        check_caller(request.metadata(), &self.cluster)?;
        Ok(request.into_inner())
    }
}

fn invalid_argument(error: DecodeError) -> Status {
    Status::invalid_argument(error.to_string())
}

macro_rules! reply {
    ($reply:ident, $answer:expr, |$value:ident| $($field:ident: $made:expr),+ $(,)?) => {
        Ok(Response::new(match $answer {
            Ok($value) => node::$reply {
                refusal: None,
                $($field: $made,)+
            },
            Err(refusal) => node::$reply {
                refusal: Some(encode(refusal)),
                ..node::$reply::default()
            },
        }))
    };
}

#[async_trait]
impl LogicNode for LogicServer {
    async fn sign_in(
        &self,
        request: Request<node::SignInRequest>,
    ) -> Result<Response<node::SignInReply>, Status> {
        let asked = self.open(request)?;
        let user = convert::user(asked.user).map_err(invalid_argument)?;
        let device = convert::device(asked.device).map_err(invalid_argument)?;
        let resume_after = Seq::new(asked.resume_after);
        let signed_in = self.logic.sign_in(user, device, &asked.token, resume_after);
        let answer = signed_in.await;
        reply!(SignInReply, answer, |granted|
            generation: granted.generation.0,
            token_left_ms: granted.token_left.map_or(0, convert::millis))
    }

    async fn epoch(
        &self,
        request: Request<node::EpochRequest>,
    ) -> Result<Response<node::EpochReply>, Status> {
        self.open(request)?;
        reply!(EpochReply, self.logic.epoch().await, |known| epoch: known.0)
    }

    async fn went_back(
        &self,
        request: Request<node::WentBackRequest>,
    ) -> Result<Response<node::EpochReply>, Status> {
        let asked = self.open(request)?;
        let user = convert::user(asked.user).map_err(invalid_argument)?;
        let (seen, known) = (Seq::new(asked.seen), Epoch(asked.epoch));
        let answer = self.logic.went_back(user, seen, known).await;
        reply!(EpochReply, answer, |known| epoch: known.0)
    }

    async fn heads(
        &self,
        request: Request<node::HeadsRequest>,
    ) -> Result<Response<node::HeadsReply>, Status> {
        let users = convert::users(&self.open(request)?.users).map_err(invalid_argument)?;
        let answer = self.logic.heads(&users).await;
        reply!(HeadsReply, answer, |read| heads: read.into_iter().map(convert::head_out).collect())
    }

    async fn page(
        &self,
        request: Request<node::PageRequest>,
    ) -> Result<Response<node::PageReply>, Status> {
        let asked = self.open(request)?;
        let user = convert::user(asked.user).map_err(invalid_argument)?;
        let limit = PageLimit {
            items: usize::try_from(asked.items).unwrap_or(usize::MAX),
            bytes: usize::try_from(asked.bytes).unwrap_or(usize::MAX),
        };
        let page = self.logic.page(user, Seq::new(asked.after), limit).await;
        Ok(Response::new(match page {
            Ok(page) => convert::page_out(&page, MessageForm::of(asked.accepts_record)),
            Err(refusal) => node::PageReply {
                refusal: Some(encode(refusal)),
                ..node::PageReply::default()
            },
        }))
    }

    async fn acked(
        &self,
        request: Request<node::AckedRequest>,
    ) -> Result<Response<node::AckedReply>, Status> {
        let user = convert::user(self.open(request)?.user).map_err(invalid_argument)?;
        let answer = self.logic.acked(user).await;
        let mark = |(device, upto): (gimlet_core::id::DeviceId, Seq)| node::AckMark {
            user: 0,
            device: device.get(),
            upto: upto.get(),
        };
        reply!(AckedReply, answer, |marks| acked: marks.into_iter().map(mark).collect())
    }

    async fn ack(
        &self,
        request: Request<node::AckRequest>,
    ) -> Result<Response<node::AckReply>, Status> {
        let marks = self.open(request)?.acks;
        let marks: Result<Vec<_>, _> = marks.iter().map(convert::mark_in).collect();
        let answer = self.logic.ack(&marks.map_err(invalid_argument)?).await;
        Ok(Response::new(node::AckReply {
            refusal: answer.err().map(encode),
        }))
    }

    type SendStream = Pin<Box<dyn Stream<Item = Result<node::SendReply, Status>> + Send>>;

    async fn send(
        &self,
        request: Request<Streaming<node::SendRequest>>,
    ) -> Result<Response<Self::SendStream>, Status> {
        let requests = self.open(request)?;
        let (answers, mut answered) = mpsc::channel(ANSWER_QUEUE_LEN);
        let worker = SendWorker {
            logic: Arc::clone(&self.logic),
            answers,
            stop: self.stop.clone(),
            work: FuturesUnordered::new(),
            bytes: 0,
        };
        self.tasks.spawn(worker.run(requests));
        let replies = stream::poll_fn(move |cx| answered.poll_recv(cx)).map(Ok);
        Ok(Response::new(Box::pin(replies)))
    }
}

type RunningSend = BoxFuture<'static, (u64, usize, Result<SendReceipt, RequestRefusal>)>;

/// The sends of one connect node: started in the order of the stream, answered as they complete,
/// and completed even if the connect node is gone.
struct SendWorker {
    logic: Arc<dyn LogicRole>,
    answers: mpsc::Sender<node::SendReply>,
    stop: CancellationToken,
    work: FuturesUnordered<RunningSend>,
    bytes: usize,
}

impl SendWorker {
    async fn run(mut self, mut requests: Streaming<node::SendRequest>) {
        let stop = self.stop.clone();
        let (mut reading, mut going) = (true, None);
        while reading || !self.work.is_empty() {
            let room = self.work.len() < MAX_SENDS_IN_FLIGHT && self.bytes < MAX_BYTES_IN_FLIGHT;
            // The order of the branches matters. Completed sends first, because each frees room for
            // the next one and its caller waits. Then the stop: the caller is asked to send no
            // more, and reading goes on for `SHUTDOWN_READ_TIME`, because sends may be on the way.
            // Then the end of that time. New sends come last, and only while there is room: an
            // unread stream exerts backpressure on the caller.
            tokio::select! {
                biased;
                Some((id, weight, outcome)) = self.work.next() => {
                    self.bytes -= weight;
                    answer(&self.answers, id, outcome).await;
                }
                () = stop.cancelled(), if going.is_none() => {
                    going = Some(Instant::now() + SHUTDOWN_READ_TIME);
                    let word = node::SendReply { closing: true, ..node::SendReply::default() };
                    let _ = self.answers.send(word).await;
                }
                () = until(going), if reading && going.is_some() => reading = false,
                next = requests.message(), if reading && room => match next {
                    Ok(Some(request)) => self.begin(request),
                    Ok(None) | Err(_) => reading = false,
                },
            }
        }
    }

    fn begin(&mut self, request: node::SendRequest) {
        let (id, weight) = (request.id, request.content.len());
        self.bytes += weight;
        // Started now, not when it is polled: `work` may poll in another order than the stream's.
        let sending = match convert::send_in(request) {
            Ok((sender, draft)) => self.logic.send(sender, draft),
            Err(error) => {
                gimlet_core::error_rated!(%error, "received an unreadable send from a connect node");
                SendFuture::done(Err(RequestRefusal::Internal))
            }
        };
        self.work
            .push(Box::pin(async move { (id, weight, sending.await) }));
    }
}

async fn answer(
    answers: &mpsc::Sender<node::SendReply>,
    id: u64,
    outcome: Result<SendReceipt, RequestRefusal>,
) {
    let mut reply = node::SendReply {
        id,
        ..node::SendReply::default()
    };
    match outcome {
        Ok(sent) => reply.sent = Some(convert::sent_out(&sent)),
        Err(refusal) => reply.refusal = Some(encode(refusal)),
    }
    // The connect node may be gone.
    let _ = answers.send(reply).await;
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
