//! Sends to a user or a group, from a user or the business backend.
//!
//! Order: the sends of one user enter the batch writer's queue in the order of the calls of
//! [`LogicService::send`]. A send whose checks need no wait enters within the call, if no earlier
//! send of the user is still being checked. Every other send holds the user's order lock from its
//! first check until it is in the queue.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use tokio::time::{Instant, timeout_at};

use crate::before_send::{ReplacedContent, SendQuestion};
use crate::delivery::DeliveryBatch;
use crate::envelope::Envelope;
use crate::error::RequestRefusal;
use crate::events::EventHooks;
use crate::id::{GroupId, MAX_ID, MessageId, UserId};
use crate::message::{
    Message, MessageContent, MessageDraft, MessageReceiver, MessageSender, UnknownFields,
    UserProfile,
};
use crate::roster::CachedRoster;
use crate::send_future::{self, SendFuture, SendReceipt};
use crate::seq::Seq;
use crate::service::order_locks::OrderGuard;
use crate::service::policy::DirectSend;
use crate::service::{LogicService, check, key};
use crate::store::{AppendOutcome, AppendRequest, IdempotencyKey, RosterVersion};

/// Timeout of the lookup of an earlier send's answer.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// The recipients of a send, with the roster from which they were taken.
struct SendRecipients {
    to: Arc<[UserId]>,
    roster: Option<(GroupId, Arc<CachedRoster>)>,
}

/// A checked message to a user, ready for the queue.
struct ReadySend {
    profile: Arc<UserProfile>,
    to: Arc<[UserId]>,
}

impl LogicService {
    /// Sends a message. The answer comes within the send deadline, when the message is durable in
    /// its recipients' inboxes (for a group larger than one chunk: in the sender's inbox, with the
    /// others to follow).
    ///
    /// A repeat of an earlier send stores nothing and gets the answer of the first.
    pub fn send(&self, sender: MessageSender, draft: MessageDraft) -> SendFuture {
        let now = Instant::now();
        let deadline = now + self.inner.limits.send_deadline;
        let checked = check::draft(&self.inner.limits, &draft);
        if let Err(refusal) = checked.and_then(|()| self.take_rate_at(sender, now)) {
            return SendFuture::done(Err(refusal));
        }
        let key = key::key(sender, &draft, &self.inner.limits);
        if let Some(ready) = self.ready(sender, &draft) {
            return self.enter(ready, sender, draft, key, deadline);
        }
        let service = self.clone();
        SendFuture::started(async move {
            let sent = service.send_in_order(sender, draft, key, deadline);
            sent.await
        })
    }

    /// Returns the message ready for the queue in the common case, which needs no future: a message
    /// to a user, with both users cached and no earlier send of the sender still being checked.
    fn ready(&self, sender: MessageSender, draft: &MessageDraft) -> Option<ReadySend> {
        let (MessageReceiver::User(to), Some(from)) = (draft.receiver, sender.user()) else {
            return None;
        };
        if !draft.persist
            || self.inner.policy.direct != DirectSend::Anyone
            || self.inner.before_send.is_some()
        {
            return None;
        }
        // An earlier send of this user that is still being checked must enter the queue first.
        if !self.inner.order.is_free(from) {
            return None;
        }
        let person = self.inner.directory.remembered(from)??;
        if to != from {
            self.inner.directory.remembered(to)??;
        }
        Some(ReadySend {
            profile: Arc::clone(&person.profile),
            to: direct_recipients(from, to),
        })
    }

    /// Puts a message into the batch writer's queue.
    fn enter(
        &self,
        ready: ReadySend,
        sender: MessageSender,
        draft: MessageDraft,
        key: Option<IdempotencyKey>,
        deadline: Instant,
    ) -> SendFuture {
        let envelope = self.envelope(sender, draft, ready.profile);
        let id = envelope.message.id;
        let append = AppendRequest {
            message: Arc::clone(&envelope.message),
            recipients: ready.to,
            key,
            roster: None,
            hooks: self.message_hooks(&envelope),
        };
        match self.inner.batcher.enter(append, envelope) {
            Ok(entered) => SendFuture::queued(entered, deadline, id),
            Err(refusal) => SendFuture::done(Err(refusal)),
        }
    }

    /// Handles all other sends: takes the sender's order lock, determines the recipients, and
    /// stores or pushes the message.
    async fn send_in_order(
        &self,
        sender: MessageSender,
        mut draft: MessageDraft,
        key: Option<IdempotencyKey>,
        deadline: Instant,
    ) -> Result<SendReceipt, RequestRefusal> {
        let (receiver, persist) = (draft.receiver, draft.persist);
        let prepare = async {
            // The lock first: the first poll of this future enters its wait queue. The hook is asked
            // meanwhile, so that its answers to many sends of one user take the time of one.
            let turn = async {
                match sender.user() {
                    Some(user) => Some(self.inner.order.take(user).await),
                    None => None,
                }
            };
            let (turn, replaced) = join(turn, self.ask_before_send(sender, &draft)).await;
            if let Some(replaced) = replaced? {
                (draft.kind, draft.content) = (replaced.kind, replaced.content);
            }
            let readers = self.resolve_recipients(sender, receiver, persist).await?;
            let profile = self.inner.directory.sender(sender).await;
            Ok::<_, RequestRefusal>((turn, readers, self.envelope(sender, draft, profile)))
        };
        let (turn, readers, envelope) = match in_time(deadline, prepare).await {
            Ok(prepared) => prepared,
            Err(refusal) => {
                let first = self.first_answer(sender, receiver, key, refusal, deadline);
                return first.await;
            }
        };
        if persist {
            self.store(sender, turn, readers, key, envelope, deadline)
                .await
        } else {
            Ok(self.push_live(readers, envelope).await)
        }
    }

    /// Asks the hook of the operator about a user's message.
    async fn ask_before_send(
        &self,
        sender: MessageSender,
        draft: &MessageDraft,
    ) -> Result<Option<ReplacedContent>, RequestRefusal> {
        let question = SendQuestion {
            sender,
            receiver: draft.receiver,
            mentions: &draft.mentions,
            kind: draft.kind,
            content: &draft.content,
        };
        self.decide_before_send(question).await
    }

    /// Asks the hook of the operator about a user's message. The backend's own messages are not
    /// asked about.
    pub(super) async fn decide_before_send(
        &self,
        question: SendQuestion<'_>,
    ) -> Result<Option<ReplacedContent>, RequestRefusal> {
        match &self.inner.before_send {
            Some(policy) if question.sender.user().is_some() => policy.decide(question).await,
            _ => Ok(None),
        }
    }

    /// Returns the first answer of a send that was answered before and would be refused now: a user
    /// that has left the group since may still ask if its message was stored (law 4).
    ///
    /// Sends the store an append that cannot take place: no roster has version 0, and the store
    /// looks up a known key before it checks the roster.
    async fn first_answer(
        &self,
        sender: MessageSender,
        receiver: MessageReceiver,
        key: Option<IdempotencyKey>,
        refusal: RequestRefusal,
        deadline: Instant,
    ) -> Result<SendReceipt, RequestRefusal> {
        let (Some(key), Some(user)) = (key, sender.user()) else {
            return Err(refusal);
        };
        // No lookup after the deadline: a store that hangs has used up this send's time.
        let now = Instant::now();
        if now >= deadline {
            return Err(refusal);
        }
        let group = match receiver {
            MessageReceiver::Group(group) => Some(group),
            _ => GroupId::new(MAX_ID),
        };
        let message = Message {
            id: MessageId::generate(),
            sender,
            receiver,
            mentions: Vec::new(),
            kind: 0,
            content: MessageContent::default(),
            sent_at: self.inner.clock.now(),
            unknown: UnknownFields::NONE,
        };
        let probe = AppendRequest {
            message: Arc::new(message),
            recipients: Arc::from([user]),
            key: Some(key),
            roster: group.map(|group| (group, RosterVersion(0))),
            hooks: EventHooks::NONE,
        };
        let batch = [probe];
        let asked = self.inner.stores.inbox.append(&batch);
        let asked = timeout_at(deadline.min(now + FIRST_ANSWER_TIMEOUT), asked).await;
        match asked.map(|answer| answer.map(|mut outcomes| outcomes.pop())) {
            Ok(Ok(Some(AppendOutcome::Repeated { message, seq }))) => Ok(SendReceipt {
                seq,
                message,
                repeated: true,
            }),
            Ok(Ok(Some(AppendOutcome::Conflict))) => Err(RequestRefusal::Conflict),
            _ => Err(refusal),
        }
    }

    /// Counts a request of this user against its rate.
    pub(super) fn take_rate(&self, sender: MessageSender) -> Result<(), RequestRefusal> {
        self.take_rate_at(sender, Instant::now())
    }

    fn take_rate_at(&self, sender: MessageSender, now: Instant) -> Result<(), RequestRefusal> {
        let Some(user) = sender.user() else {
            return Ok(());
        };
        self.inner
            .rate
            .take_at(user, now)
            .map_err(|retry_after| RequestRefusal::RateLimited { retry_after })
    }

    /// Counts the size of a group against the rate of a user that sends to it. The first token was
    /// taken before the group was looked up.
    fn take_group_rate(&self, sender: MessageSender, members: usize) -> Result<(), RequestRefusal> {
        let Some(user) = sender.user() else {
            return Ok(());
        };
        let limits = &self.inner.limits;
        let further = u32::try_from(members).unwrap_or(u32::MAX) / limits.send_cost_members;
        // A group may be so large that its cost exceeds the burst: a full bucket is enough.
        let further = further.min(limits.send_burst - 1);
        if further == 0 {
            return Ok(());
        }
        self.inner
            .rate
            .take_many(user, further)
            .map_err(|retry_after| {
                self.inner.rate.refund(&user);
                RequestRefusal::RateLimited { retry_after }
            })
    }

    async fn resolve_recipients(
        &self,
        sender: MessageSender,
        receiver: MessageReceiver,
        persist: bool,
    ) -> Result<SendRecipients, RequestRefusal> {
        let readers = self.look_up_recipients(sender, receiver, persist).await?;
        if readers.roster.is_some() {
            self.take_group_rate(sender, readers.to.len())?;
        }
        Ok(readers)
    }

    async fn look_up_recipients(
        &self,
        sender: MessageSender,
        receiver: MessageReceiver,
        persist: bool,
    ) -> Result<SendRecipients, RequestRefusal> {
        match receiver {
            MessageReceiver::User(user) => self.direct(sender, user).await,
            MessageReceiver::Group(group) => {
                let roster = if persist {
                    self.inner.rosters.get(group).await?
                } else {
                    // Not stored, so no append will check the roster's version: read the current
                    // one.
                    self.inner.rosters.now(group).await?
                };
                if sender.user().is_none_or(|user| roster.role(user).is_some()) {
                    return of_group(sender, group, roster);
                }
                // The sender may have been added after the roster was cached.
                of_group(sender, group, self.inner.rosters.load(group).await?)
            }
            MessageReceiver::Room(_) | MessageReceiver::Everyone => Err(RequestRefusal::Internal),
        }
    }

    /// Returns the recipients of a direct message: both users for a user's message, the receiver
    /// alone for a backend's.
    async fn direct(
        &self,
        sender: MessageSender,
        receiver: UserId,
    ) -> Result<SendRecipients, RequestRefusal> {
        let to = sender.user().map_or_else(
            || Arc::from([receiver]),
            |user| direct_recipients(user, receiver),
        );
        if sender.user() != Some(receiver) {
            if !self.inner.directory.exists(receiver).await? {
                return Err(RequestRefusal::NoSuchUser(receiver));
            }
            self.check_policy(sender, receiver).await?;
        }
        Ok(SendRecipients { to, roster: None })
    }

    async fn check_policy(
        &self,
        sender: MessageSender,
        receiver: UserId,
    ) -> Result<(), RequestRefusal> {
        let (DirectSend::Friends, Some(user)) = (self.inner.policy.direct, sender.user()) else {
            return Ok(());
        };
        let friends = &self.inner.stores.friend;
        if friends.are_friends(user, receiver).await? {
            return Ok(());
        }
        Err(RequestRefusal::bad(format!(
            "{receiver} is not your friend, and this server delivers between friends only; \
             call AddFriend first"
        )))
    }

    fn envelope(
        &self,
        sender: MessageSender,
        draft: MessageDraft,
        profile: Arc<UserProfile>,
    ) -> Arc<Envelope> {
        let request_id = match draft.receiver {
            MessageReceiver::Group(_) => draft.request_id.unwrap_or_default(),
            _ => 0,
        };
        // A draft without a time gets the server's.
        let stated = match sender.user() {
            Some(_) => draft.sent_at.0 != 0,
            None => draft.sent_at.0 > 0,
        };
        let message = Message {
            id: MessageId::generate(),
            sender,
            receiver: draft.receiver,
            mentions: draft.mentions,
            kind: draft.kind,
            content: draft.content,
            sent_at: if stated {
                draft.sent_at
            } else {
                self.inner.clock.now()
            },
            unknown: UnknownFields::NONE,
        };
        Arc::new(Envelope::new(Arc::new(message), profile, request_id))
    }

    /// Puts the send into the batch writer's queue and waits for its answer. If the roster changes
    /// meanwhile, the batch writer plans the send again, before all later sends to the group.
    async fn store(
        &self,
        sender: MessageSender,
        turn: Option<OrderGuard<'_>>,
        readers: SendRecipients,
        key: Option<IdempotencyKey>,
        envelope: Arc<Envelope>,
        deadline: Instant,
    ) -> Result<SendReceipt, RequestRefusal> {
        if readers.to.is_empty() {
            return Ok(unsequenced(&envelope));
        }
        let append = AppendRequest {
            message: Arc::clone(&envelope.message),
            recipients: readers.to,
            key,
            roster: readers
                .roster
                .as_ref()
                .map(|(group, roster)| (*group, roster.version)),
            hooks: self.message_hooks(&envelope),
        };
        let id = envelope.message.id;
        let share = match append.group() {
            Some(group) => self.inner.jobs.admit(group, append.recipients.len())?,
            None => None,
        };
        let entered = self.inner.batcher.enter_job(append, envelope, share)?;
        // Released only now: from here on the queue keeps the order. Released earlier, a later send
        // of this user could enter first; released later, each send would wait for the commit of
        // the one before.
        drop(turn);
        let appended = entered.answer(deadline).await?;
        let mut sent = send_future::sent(appended, id)?;
        // A backend has no inbox, so its group send has no seq.
        if sender.user().is_none() && readers.roster.is_some() {
            sent.seq = Seq::ZERO;
        }
        Ok(sent)
    }

    /// Pushes to current connections, without storing and without a guarantee.
    async fn push_live(&self, readers: SendRecipients, envelope: Arc<Envelope>) -> SendReceipt {
        let sent = unsequenced(&envelope);
        let to = readers.to.to_vec();
        let delivery = DeliveryBatch::Live { envelope, to };
        self.inner.fanout.deliver(vec![delivery]).await;
        sent
    }
}

/// Returns both users of a direct message; a message to oneself has one recipient.
fn direct_recipients(from: UserId, to: UserId) -> Arc<[UserId]> {
    if from == to {
        Arc::from([from])
    } else {
        Arc::from([from, to])
    }
}

/// Returns the recipients of a group message: all members, the sender first. Refuses a user that is
/// not a member.
fn of_group(
    sender: MessageSender,
    group: GroupId,
    roster: Arc<CachedRoster>,
) -> Result<SendRecipients, RequestRefusal> {
    let to = roster.plan(sender, group)?;
    let roster = Some((group, roster));
    Ok(SendRecipients { to, roster })
}

fn unsequenced(envelope: &Envelope) -> SendReceipt {
    SendReceipt {
        seq: Seq::ZERO,
        message: envelope.message.id,
        repeated: false,
    }
}

/// Limits work before the append to the deadline. Nothing is stored by then, so a timeout is
/// [`RequestRefusal::Unavailable`] and not `Unknown`.
async fn in_time<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, RequestRefusal>>,
) -> Result<T, RequestRefusal> {
    timeout_at(deadline, work)
        .await
        .unwrap_or(Err(RequestRefusal::Unavailable))
}
