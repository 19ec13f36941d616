//! `LogicRole` over the configured logic nodes: the client for a logic role in other processes.
//!
//! A user's requests go to one node, chosen by the user's id among the nodes that are reached, so
//! that every connect node chooses the same one. They move to another node only when the sends in
//! flight are answered or known to have an unknown outcome. A send is never repeated here: only its
//! client repeats it, with its id.

mod link;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use gimlet_core::error::RequestRefusal;
use gimlet_core::id::{DeviceId, Epoch, Generation, UserId};
use gimlet_core::logic::{InboxPage, LogicRole, SignInGrant};
use gimlet_core::message::{MessageDraft, MessageSender};
use gimlet_core::page::PageLimit;
use gimlet_core::send_future::{SendFuture, SendReceipt};
use gimlet_core::seq::Seq;
use gimlet_core::store::{AckMark, Head};
use gimlet_proto::node;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::call::NodeCredentials;
use super::convert::{self, DecodeError};
use super::placement::UserPlacement;
use super::refusal::decode;
use link::{LogicClient, LogicLink};

/// Time limit of a read before another node is asked: the time that a logic node allows its
/// storage, and the round trip.
const READ_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Time limit of a sign-in, which waits for the business backend and for the storage.
const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(4);
/// Time for the round trip of a send, on top of the time that the logic node has.
const ROUND_TRIP_ALLOWANCE: Duration = Duration::from_millis(250);
/// Nodes that are asked before a read fails.
const MAX_READ_ATTEMPTS: usize = 2;
/// Largest number of bytes of all sends in flight.
const MAX_SEND_BYTES: usize = 64 << 20;
/// Bytes that a send counts for besides its content.
const SEND_OVERHEAD_BYTES: usize = 256;

/// `LogicRole` over gRPC.
#[derive(Debug)]
pub struct RemoteLogic {
    links: Vec<Arc<LogicLink>>,
    placement: Arc<UserPlacement>,
    next_node: AtomicUsize,
    bytes: Arc<Semaphore>,
    send_wait: Duration,
}

/// Reasons a call to a logic node failed.
#[derive(Debug, thiserror::Error)]
enum LogicCallError {
    #[error("{0}")]
    Status(#[from] tonic::Status),
    #[error("its answer cannot be decoded: {0}")]
    Undecodable(#[from] DecodeError),
}

/// The answer of a node, or the reason there is none.
type CallAnswer<T> = Result<Result<T, RequestRefusal>, LogicCallError>;

impl RemoteLogic {
    /// Starts a link to each address and keeps it until `stop`. `send_deadline` is the time that a
    /// logic node allows a send.
    ///
    /// # Errors
    /// An address is not valid.
    pub fn start(
        addresses: &[String],
        caller: &NodeCredentials,
        send_deadline: Duration,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, tonic::transport::Error> {
        let links = addresses.iter().map(|address| {
            let link = Arc::new(LogicLink::new(address, caller.channel(address)?));
            tasks.spawn(Arc::clone(&link).run(stop.clone()));
            Ok(link)
        });
        let links: Vec<_> = links.collect::<Result<_, tonic::transport::Error>>()?;
        Ok(Self {
            placement: Arc::new(UserPlacement::new(addresses)),
            links,
            next_node: AtomicUsize::new(0),
            bytes: Arc::new(Semaphore::new(MAX_SEND_BYTES)),
            send_wait: send_deadline + ROUND_TRIP_ALLOWANCE,
        })
    }

    /// Waits until a node is reached, at most `within`; returns whether one is.
    pub async fn reached(&self, within: Duration) -> bool {
        // The configuration refuses this. If it ever happens, the caller must not loop without a
        // pause.
        if self.links.is_empty() {
            tokio::time::sleep(within).await;
            return false;
        }
        let any = self.links.iter().map(|link| Box::pin(link.reached()));
        timeout(within, futures_util::future::select_all(any))
            .await
            .is_ok()
    }

    /// Waits until no node is reached.
    pub async fn lost(&self) {
        while let Some(link) = self.links.iter().find(|link| link.is_up()) {
            link.lost().await;
        }
    }

    /// Waits until every node is reached, at most `within`; returns whether they are.
    #[cfg(test)]
    pub(super) async fn all_reached(&self, within: Duration) -> bool {
        let all = self.links.iter().map(|link| link.reached());
        timeout(within, futures_util::future::join_all(all))
            .await
            .is_ok()
    }

    /// Returns the nodes that are reached: the user's node first, or in rotation without a user.
    fn order(&self, user: Option<UserId>) -> Vec<&Arc<LogicLink>> {
        let in_turn = || {
            let turn = self.next_node.fetch_add(1, Ordering::Relaxed);
            let count = self.links.len().max(1);
            (0..count).map(|at| (at + turn) % count).collect()
        };
        let order: Vec<usize> = user.map_or_else(in_turn, |user| self.placement.order(user));
        let links = order.into_iter().filter_map(|at| self.links.get(at));
        links.filter(|link| link.is_up()).collect()
    }

    /// Asks one node, and another one if it does not answer. Only for calls that are safe to
    /// repeat.
    async fn ask<T, F>(
        &self,
        user: Option<UserId>,
        within: Duration,
        call: impl Fn(LogicClient) -> F + Send + Sync,
    ) -> Result<T, RequestRefusal>
    where
        F: Future<Output = CallAnswer<T>> + Send,
        T: Send,
    {
        for link in self.order(user).into_iter().take(MAX_READ_ATTEMPTS) {
            match timeout(within, call(link.client())).await {
                Ok(Ok(answer)) => return answer,
                Ok(Err(trouble)) => {
                    gimlet_core::warn_rated!(node = link.address(), %trouble, "a logic node failed a call");
                }
                Err(_) => {
                    gimlet_core::warn_rated!(
                        node = link.address(),
                        "a logic node did not answer in time"
                    );
                }
            }
        }
        Err(RequestRefusal::Unavailable)
    }
}

/// Returns the value of an answer, or the refusal in it.
fn value<T>(
    refusal: Option<node::Refusal>,
    value: impl FnOnce() -> Result<T, DecodeError>,
) -> CallAnswer<T> {
    Ok(match refusal {
        Some(refusal) => Err(decode(refusal)),
        None => Ok(value()?),
    })
}

#[async_trait]
impl LogicRole for RemoteLogic {
    async fn sign_in(
        &self,
        user: UserId,
        device: DeviceId,
        token: &str,
        resume_after: Seq,
    ) -> Result<SignInGrant, RequestRefusal> {
        self.ask(Some(user), SIGN_IN_TIMEOUT, |mut client| {
            let request = node::SignInRequest {
                user: user.get(),
                device: device.get(),
                token: token.to_owned(),
                resume_after: resume_after.get(),
            };
            async move {
                let reply = client.sign_in(request).await?.into_inner();
                value(reply.refusal, || match reply.generation {
                    0 => Err(DecodeError("generation")),
                    raised => Ok(SignInGrant {
                        generation: Generation(raised),
                        token_left: match reply.token_left_ms {
                            0 => None,
                            left => Some(Duration::from_millis(left)),
                        },
                    }),
                })
            }
        })
        .await
    }

    async fn epoch(&self) -> Result<Epoch, RequestRefusal> {
        self.ask(None, READ_TIMEOUT, |mut client| async move {
            let reply = client.epoch(node::EpochRequest {}).await?.into_inner();
            value(reply.refusal, || match reply.epoch {
                0 => Err(DecodeError("epoch")),
                epoch => Ok(Epoch(epoch)),
            })
        })
        .await
    }

    async fn went_back(
        &self,
        user: UserId,
        seen: Seq,
        known: Epoch,
    ) -> Result<Epoch, RequestRefusal> {
        self.ask(Some(user), READ_TIMEOUT, |mut client| {
            let request = node::WentBackRequest {
                user: user.get(),
                seen: seen.get(),
                epoch: known.0,
            };
            async move {
                let reply = client.went_back(request).await?.into_inner();
                value(reply.refusal, || match reply.epoch {
                    0 => Err(DecodeError("epoch")),
                    epoch => Ok(Epoch(epoch)),
                })
            }
        })
        .await
    }

    async fn heads(&self, users: &[UserId]) -> Result<Vec<Head>, RequestRefusal> {
        let only = users.first().copied().filter(|_| users.len() == 1);
        self.ask(only, READ_TIMEOUT, |mut client| {
            let users: Vec<u64> = users.iter().map(|user| user.get()).collect();
            async move {
                let asked = users.len();
                let reply = client.heads(node::HeadsRequest { users }).await?;
                let reply = reply.into_inner();
                value(reply.refusal, || {
                    let heads = reply.heads.iter().map(convert::head_in).collect::<Vec<_>>();
                    if heads.len() == asked {
                        Ok(heads)
                    } else {
                        Err(DecodeError("heads"))
                    }
                })
            }
        })
        .await
    }

    async fn page(
        &self,
        user: UserId,
        after: Seq,
        limit: PageLimit,
    ) -> Result<InboxPage, RequestRefusal> {
        self.ask(Some(user), READ_TIMEOUT, |mut client| {
            let request = node::PageRequest {
                user: user.get(),
                after: after.get(),
                items: u64::try_from(limit.items).unwrap_or(u64::MAX),
                bytes: u64::try_from(limit.bytes).unwrap_or(u64::MAX),
                accepts_record: true,
            };
            async move {
                let mut reply = client.page(request).await?.into_inner();
                value(reply.refusal.take(), || convert::page_in(reply))
            }
        })
        .await
    }

    async fn acked(&self, user: UserId) -> Result<Vec<(DeviceId, Seq)>, RequestRefusal> {
        self.ask(Some(user), READ_TIMEOUT, |mut client| async move {
            let request = node::AckedRequest { user: user.get() };
            let reply = client.acked(request).await?.into_inner();
            value(reply.refusal, || {
                let marks = reply.acked.iter();
                let marks = marks.map(|it| Ok((convert::device(it.device)?, Seq::new(it.upto))));
                marks.collect()
            })
        })
        .await
    }

    async fn ack(&self, acks: &[AckMark]) -> Result<(), RequestRefusal> {
        self.ask(None, READ_TIMEOUT, |mut client| {
            let acks = acks.iter().map(convert::mark_out).collect();
            async move {
                let reply = client.ack(node::AckRequest { acks }).await?.into_inner();
                value(reply.refusal, || Ok(()))
            }
        })
        .await
    }

    fn send(&self, sender: MessageSender, draft: MessageDraft) -> SendFuture {
        match self.begin(sender, draft) {
            Some(answered) => SendFuture::started(answered),
            // The send has not left this node, so it can be refused with 14, which is safe to
            // retry.
            None => SendFuture::done(Err(RequestRefusal::Unavailable)),
        }
    }
}

impl RemoteLogic {
    /// Puts a send on the stream of its user's node. `None` if no node is reached, or it takes no
    /// more.
    fn begin(
        &self,
        sender: MessageSender,
        draft: MessageDraft,
    ) -> Option<impl Future<Output = Result<SendReceipt, RequestRefusal>> + use<>> {
        let deadline = Instant::now() + self.send_wait;
        // This part runs when the send is started, not when the future is polled: it fixes the
        // order of a user's sends. The order of the steps: choose the node, reserve the bytes,
        // queue the send. Each later step can fail, and then the earlier ones are given back on
        // return.
        let place = self.placement.take(sender.user(), |at| {
            self.links.get(at).is_some_and(|link| link.is_up())
        })?;
        let link = Arc::clone(self.links.get(place.at())?);
        let weight = u32::try_from(draft.content.len() + SEND_OVERHEAD_BYTES).ok()?;
        let room = Arc::clone(&self.bytes)
            .try_acquire_many_owned(weight)
            .ok()?;
        let answer = link.send(sender, draft, room)?;
        Some(async move {
            // Kept until the answer: while it lives, the user's later sends go to the same node.
            let _place = place;
            match timeout_at(deadline, answer).await {
                Ok(Ok(answer)) => answer,
                // The stream broke.
                Ok(Err(_)) => Err(RequestRefusal::Unknown),
                Err(_) => {
                    gimlet_core::warn_rated!(
                        node = link.address(),
                        "a send was not answered in time"
                    );
                    link.doubt();
                    Err(RequestRefusal::Unknown)
                }
            }
        })
    }
}
