//! The batch writer: forms batches, stores them, answers their sends, and delivers the pushes.
//!
//! It keeps as many batches in flight as the store commits in parallel
//! ([`append_concurrency`](InboxStore::append_concurrency)); no two of them share a user or a
//! group. The order of these steps is part of the contract:
//! - `end` releases the users and groups of a batch, answers its sends and records its pushes in
//!   one synchronous step. No later batch of the same users can start before that step is over, so
//!   pushes leave in the order of the inbox.
//! - Only the first send of a flow is looked at, so no send overtakes an earlier one of its flow.
//! - A group with a send that is deferred or being planned again is blocked, and its later sends
//!   wait.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::future::{BoxFuture, poll_immediate};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backlog::OpenJobs;
use crate::error::RequestRefusal;
use crate::fanout::MessageFanout;
use crate::id::GroupId;
use crate::janitor::RetentionNotifier;
use crate::limits::Limits;
use crate::roster::RosterCache;
use crate::store::{AppendOutcome, AppendRequest, InboxStore, StoreError};
use crate::trace;

use super::deferred::DeferredSends;
use super::in_flight::{BatchId, InFlightBatches};
use super::pushes::BatchPushes;
use super::queue::{QueueState, SendQueue};
use super::queued_send::{BatchSize, CallerContext, FlowKey, QueuedSend};
use super::replan::{ReplanOutcome, ReplannedSends};

/// The batch writer of a node; there is exactly one.
#[derive(Debug)]
pub(super) struct BatchWriter {
    inbox: Arc<dyn InboxStore>,
    max: BatchSize,
    tracker: TaskTracker,
    pub(super) jobs: OpenJobs,
    pub(super) retention: RetentionNotifier,
    pub(super) queue: Arc<SendQueue>,
    /// Maximum number of batches in flight.
    pub(super) concurrency: usize,
    running: FuturesUnordered<BoxFuture<'static, EndedBatch>>,
    /// Ids of the batches in flight.
    pub(super) running_ids: HashSet<BatchId>,
    pub(super) in_flight: InFlightBatches,
    pub(super) parked: ParkedFlows,
    pub(super) aside: DeferredSends,
    pub(super) replans: ReplannedSends,
    pub(super) pushes: BatchPushes,
    /// Bytes of answered sends, not yet returned to the queue's budget.
    pub(super) freed: usize,
    /// Time per send of the batch that ended last, not yet reported to the queue.
    pub(super) seconds_per_send: Option<f64>,
}

/// Flows whose first send has to wait, in the order in which they were parked.
#[derive(Debug, Default)]
pub(super) struct ParkedFlows {
    flows: Vec<(FlowKey, ParkReason)>,
    /// Groups of the first sends of these flows.
    groups: HashSet<GroupId>,
    /// Set when something was released since the flows were last examined.
    pub(super) look_again: bool,
}

/// Reason for which a flow is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ParkReason {
    /// Waits for this batch in flight.
    Batch(BatchId),
    /// Waits for an earlier send of its flow or its group.
    Held,
}

/// A batch that is ready to start.
#[derive(Debug)]
struct FormedBatch {
    sends: Vec<QueuedSend>,
    /// Deadline of the sends if the batch must not wait for locks; `None` if it may.
    cautious: Option<Instant>,
}

impl FormedBatch {
    /// Returns a batch that may wait for locks; `None` if there is nothing to store.
    fn of(sends: Vec<QueuedSend>) -> Option<Self> {
        let cautious = None;
        (!sends.is_empty()).then_some(Self { sends, cautious })
    }
}

/// A batch in flight, apart from the store's future.
#[derive(Debug)]
pub(super) struct RunningBatch {
    pub(super) id: BatchId,
    pub(super) appends: Arc<Vec<AppendRequest>>,
    pub(super) callers: Vec<CallerContext>,
    pub(super) cautious: Option<Instant>,
    pub(super) began: Instant,
}

/// Outcome of a batch at the store; `None` if the store panicked.
pub(super) type BatchOutcome = Option<Result<Vec<AppendOutcome>, StoreError>>;
type EndedBatch = (RunningBatch, BatchOutcome);

/// Outcome of looking at the first send of a flow.
enum FlowOutcome {
    Taken,
    Full,
    Parked(ParkReason),
    Empty,
}

impl BatchWriter {
    #[expect(
        clippy::too_many_arguments,
        reason = "each argument is one collaborator of the batch writer"
    )]
    pub(super) fn new(
        inbox: Arc<dyn InboxStore>,
        queue: Arc<SendQueue>,
        limits: &Limits,
        tracker: &TaskTracker,
        fanout: MessageFanout,
        jobs: OpenJobs,
        retention: RetentionNotifier,
        rosters: RosterCache,
    ) -> Self {
        let concurrency = inbox.append_concurrency().max(1);
        Self {
            inbox,
            max: BatchSize::most(limits),
            tracker: tracker.clone(),
            jobs,
            retention,
            queue,
            concurrency,
            running: FuturesUnordered::new(),
            running_ids: HashSet::new(),
            in_flight: InFlightBatches::default(),
            parked: ParkedFlows::default(),
            aside: DeferredSends::new(concurrency, limits.send_deadline),
            replans: ReplannedSends::new(rosters, limits.send_deadline),
            pushes: BatchPushes::start(fanout, tracker),
            freed: 0,
            seconds_per_send: None,
        }
    }

    /// Runs until the token is cancelled and no send waits any more.
    ///
    /// The loop has a fixed order: start batches while a slot is free, then deliver pushes, then
    /// wait. In the wait, ended batches come first, because they free slots, users and groups.
    pub(super) async fn run(mut self, token: CancellationToken) {
        let mut closed = false;
        loop {
            // Checked in every round and not only in the wait, because under constant load the wait
            // always has another branch that is ready first.
            if !closed && token.is_cancelled() {
                closed = true;
                self.queue.close();
            }
            while self.running.len() < self.concurrency && (closed || !token.is_cancelled()) {
                let Some(batch) = self.form() else { break };
                self.start(batch).await;
                // A store that answers at once never waits: without this, constant load would keep
                // a thread of the runtime.
                tokio::task::coop::consume_budget().await;
            }
            // After the start: the store works while the pushes are delivered.
            self.pushes.deliver();
            if closed && self.is_finished() {
                return;
            }
            let has_slot = self.running.len() < self.concurrency;
            let look_at = self.aside.next_at().filter(|_| has_slot);
            let queue = Arc::clone(&self.queue);
            tokio::select! {
                biased;
                Some((running, outcome)) = self.running.next() => self.end(running, outcome),
                Some((group, roster)) = self.replans.loaded() => self.planned(group, roster),
                () = token.cancelled(), if !closed => {}
                () = std::future::poll_fn(|cx| queue.poll_ready(cx)), if has_slot => {}
                () = until(look_at), if look_at.is_some() => {}
            }
        }
    }

    fn is_finished(&self) -> bool {
        let set_aside = self.aside.len() + self.replans.len();
        self.running.is_empty() && set_aside == 0 && self.queue.lock().is_empty()
    }

    /// Forms the next batch, oldest sends first: deferred sends, then sends that were planned
    /// again, then parked flows, then the queue in its fair order.
    fn form(&mut self) -> Option<FormedBatch> {
        if let Some(batch) = self.form_cautious() {
            return Some(batch);
        }
        let queue = Arc::clone(&self.queue);
        let mut waiting = queue.lock();
        let aside = self.aside.len() + self.replans.len();
        waiting.settle(std::mem::take(&mut self.freed), aside);
        if let Some(seconds) = self.seconds_per_send.take() {
            waiting.note_pace(seconds);
        }
        self.replans.forget_old();
        let nothing_holds = self.running.is_empty()
            && self.parked.flows.is_empty()
            && self.aside.is_idle()
            && self.replans.is_idle();
        if nothing_holds && let Some(all) = waiting.take_unsorted() {
            drop(waiting);
            return self.whole(all);
        }
        waiting.sort();
        let mut forming = BatchBuilder::default();
        self.add_planned(&mut forming);
        self.add_parked(&mut waiting, &mut forming);
        while !forming.full
            && let Some(flow) = waiting.next_flow()
        {
            match self.look(&mut waiting, flow, &mut forming) {
                FlowOutcome::Taken | FlowOutcome::Empty => {}
                FlowOutcome::Full => waiting.list_again(flow),
                FlowOutcome::Parked(block) => self.parked.add(&waiting, flow, block),
            }
        }
        drop(waiting);
        FormedBatch::of(forming.sends)
    }

    /// Forms a batch from all waiting sends in the order of arrival. This is the common case:
    /// nothing is in flight, parked, deferred or being planned again.
    fn whole(&mut self, mut all: Vec<QueuedSend>) -> Option<FormedBatch> {
        all.retain(|send| {
            let started = send.caller.completion.start();
            if !started {
                self.freed += send.caller.bytes;
            }
            started
        });
        FormedBatch::of(all)
    }

    /// Forms a batch of deferred sends, stored by an append that does not wait for locks.
    fn form_cautious(&mut self) -> Option<FormedBatch> {
        if self.aside.is_idle() {
            return None;
        }
        let now = Instant::now();
        let (batch, given_up) = self.aside.take(now, &self.in_flight, &self.max);
        for send in given_up {
            self.answer(send.caller, Err(RequestRefusal::Unavailable));
            self.parked.look_again = true;
        }
        let (sends, until) = batch?;
        let cautious = Some(until);
        Some(FormedBatch { sends, cautious })
    }

    fn add_planned(&mut self, forming: &mut BatchBuilder) {
        let (mut left, mut passed) = (Vec::new(), HashSet::new());
        for send in self.replans.take_planned() {
            // No send may overtake an earlier one of its group that stays behind.
            let group = send.group();
            let waits = forming.full
                || !self.max.fits(&forming.taken, &send)
                || group.is_some_and(|it| passed.contains(&it))
                || self.in_flight.blocker(&send.append).is_some();
            if waits {
                passed.extend(group);
                left.push(send);
                continue;
            }
            if let Some(group) = group {
                self.replans.release(group);
            }
            // Parked sends of the group may now join the same batch.
            self.parked.look_again = true;
            if send.caller.completion.start() {
                forming.add(send);
            } else {
                self.freed += send.caller.bytes;
            }
        }
        if !left.is_empty() {
            self.replans.put_back(left);
        }
    }

    fn add_parked(&mut self, waiting: &mut QueueState, forming: &mut BatchBuilder) {
        if !std::mem::take(&mut self.parked.look_again) || self.parked.flows.is_empty() {
            return;
        }
        self.parked.groups.clear();
        for (flow, block) in std::mem::take(&mut self.parked.flows) {
            let still = match block {
                ParkReason::Batch(id) => self.running_ids.contains(&id),
                ParkReason::Held => false,
            };
            if forming.full || still {
                self.parked.look_again |= forming.full;
                self.parked.add(waiting, flow, block);
                continue;
            }
            match self.look(waiting, flow, forming) {
                FlowOutcome::Taken | FlowOutcome::Empty => {}
                FlowOutcome::Full => {
                    self.parked.look_again = true;
                    self.parked.add(waiting, flow, ParkReason::Held);
                }
                FlowOutcome::Parked(block) => self.parked.add(waiting, flow, block),
            }
        }
    }

    /// Looks at the first send of a flow, and takes it unless something blocks it.
    fn look(
        &mut self,
        waiting: &mut QueueState,
        flow: FlowKey,
        forming: &mut BatchBuilder,
    ) -> FlowOutcome {
        loop {
            let Some(head) = waiting.head(flow) else {
                return FlowOutcome::Empty;
            };
            if !head.caller.completion.waits() {
                waiting.drop_head(flow);
                continue;
            }
            let group = head.group();
            // Earlier sends of the flow or group are checked before locks: a send that meets a
            // known lock must not enter the deferred list ahead of them.
            if self.aside.holds(flow, group)
                || self.replans.holds(group)
                || group.is_some_and(|it| self.parked.groups.contains(&it))
            {
                return FlowOutcome::Parked(ParkReason::Held);
            }
            if self.aside.is_locked(head) {
                if let Some(send) = waiting.take_head(flow) {
                    self.aside.add(send, Instant::now());
                }
                // The flow's next send is examined when the flow comes up again, and then blocked
                // by this one.
                return FlowOutcome::Taken;
            }
            if let Some(id) = self.in_flight.blocker(&head.append) {
                return FlowOutcome::Parked(ParkReason::Batch(id));
            }
            if !self.max.fits(&forming.taken, head) {
                forming.full = true;
                return FlowOutcome::Full;
            }
            let Some(mut send) = waiting.take_head(flow) else {
                return FlowOutcome::Empty;
            };
            // A send older than a roster that was read meanwhile is planned again before it starts;
            // otherwise the store would refuse it as stale and cost a round trip.
            match self.replans.refresh(&mut send) {
                ReplanOutcome::Made if send.caller.completion.start() => forming.add(send),
                ReplanOutcome::Made => self.freed += send.caller.bytes,
                plan => self.answer_plan(send, plan),
            }
            return FlowOutcome::Taken;
        }
    }

    /// Starts storing a batch.
    async fn start(&mut self, batch: FormedBatch) {
        let FormedBatch { sends, cautious } = batch;
        let mut appends = Vec::with_capacity(sends.len());
        let mut callers = Vec::with_capacity(sends.len());
        for send in sends {
            appends.push(send.append);
            callers.push(send.caller);
        }
        // With a concurrency of 1 no other batch can touch the same users, so nothing is
        // registered.
        let id = if self.concurrency > 1 {
            self.in_flight.register(&appends)
        } else {
            0
        };
        let appends = Arc::new(appends);
        let running = RunningBatch {
            id,
            appends: Arc::clone(&appends),
            callers,
            cautious,
            began: Instant::now(),
        };
        let inbox = Arc::clone(&self.inbox);
        let span = trace::append_span(&appends);
        let storing = trace::store_call(span, async move {
            if cautious.is_some() {
                inbox.append_now(&appends).await
            } else {
                inbox.append(&appends).await
            }
        });
        let mut storing = Box::pin(AssertUnwindSafe(storing).catch_unwind());
        // A store that does not have to wait has answered by now, which saves a task and its
        // wake-up. The pushes of the batch before are delivered first: with such a store the inner
        // loop of `run` may start many batches before it delivers any.
        if let Some(stored) = poll_immediate(&mut storing).await {
            self.pushes.deliver();
            self.end(running, stored.ok());
            return;
        }
        // In a task of its own, so that neither a shutdown nor a panic of the store stops the
        // writer.
        let stored = self.tracker.spawn(storing);
        self.running_ids.insert(id);
        self.running.push(Box::pin(async move {
            let stored = stored.await.ok().and_then(Result::ok);
            (running, stored)
        }));
    }
}

impl ParkedFlows {
    fn add(&mut self, waiting: &QueueState, flow: FlowKey, block: ParkReason) {
        if let Some(group) = waiting.head(flow).and_then(QueuedSend::group) {
            self.groups.insert(group);
        }
        self.flows.push((flow, block));
    }
}

/// A batch that is being formed.
#[derive(Debug, Default)]
struct BatchBuilder {
    sends: Vec<QueuedSend>,
    taken: BatchSize,
    full: bool,
}

impl BatchBuilder {
    fn add(&mut self, send: QueuedSend) {
        self.taken.add(&send);
        self.sends.push(send);
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
