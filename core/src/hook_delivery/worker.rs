//! The worker of one hook: reads events, hands them to the endpoint, and removes what arrived.
//!
//! Order of the steps of a batch: mark its receivers as busy, deliver, remove the events from the
//! outbox, and only then release the receivers. An event that is not removed is delivered again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::ErrorChain;
use crate::events::{EventSubscriptions, HookEvent, HookName};
use crate::hook_delivery::batch::{EventBatch, read_batch};
use crate::hook_delivery::counters::HookCounters;
use crate::hook_delivery::pace::pause_after;
use crate::hook_delivery::prepare::NotificationMaker;
use crate::hook_delivery::state::DeliveryState;
use crate::hook_delivery::{DeliveryOutcome, HookEndpoint};
use crate::hook_lease::HookLeaseHolder;
use crate::page::PageLimit;
use crate::store::{
    FailedDelivery, HookLease, LeasedOutcome, OutboxBounds, OutboxPosition, OutboxRow, OutboxStore,
    StoreError,
};
use crate::time::TimeSource;

/// Interval at which the backlog is counted and trimmed.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(10);
/// Pause after a call of the store that failed.
const STORE_RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Time for the batches that are under way at a stop.
const STOP_WAIT: Duration = Duration::from_secs(3);
/// Attempts before an old event is given up, so that events which waited during a long stop are tried
/// too.
const MIN_ATTEMPTS: u32 = 5;
/// Old events given up at a time when the endpoint is not reached.
const GIVE_UP_ITEMS: usize = 500;
/// Largest number of slices of such events, and of surplus events, in one step.
const MAX_SLICES: usize = 200;

/// Rules of a hook's delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryRules {
    /// Maximum number of events in a batch.
    pub batch: usize,
    /// Maximum number of batches under way at a time; they share no receiver.
    pub concurrency: usize,
    /// Time for which an event is tried; then it becomes a dead letter.
    pub retry_for: Duration,
}

/// Another node delivers the hook now.
#[derive(Debug)]
struct LeaseLost;

/// Delivers one hook while this node holds its lease.
#[derive(Debug)]
pub(super) struct HookWorker {
    pub(super) hook: HookName,
    pub(super) rules: DeliveryRules,
    pub(super) bounds: OutboxBounds,
    pub(super) endpoint: Arc<dyn HookEndpoint>,
    pub(super) maker: NotificationMaker,
    pub(super) outbox: Arc<dyn OutboxStore>,
    pub(super) events: EventSubscriptions,
    pub(super) lease: HookLeaseHolder,
    pub(super) clock: Arc<dyn TimeSource>,
    pub(super) counters: Arc<HookCounters>,
}

impl HookWorker {
    /// Delivers until the token is cancelled.
    pub(super) async fn run(self, stop: CancellationToken) {
        loop {
            let lease = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                lease = self.lease.acquire() => lease,
            };
            tracing::debug!(hook = %self.hook, "this node delivers the hook");
            let is_lost = tokio::select! {
                biased;
                () = self.lease.keep_until_lost(&lease) => true,
                result = self.deliver(&lease, &stop) => result.is_err(),
            };
            self.counters.set_backlog(None);
            if !is_lost {
                self.lease.release(&lease).await;
                return;
            }
            tracing::debug!(hook = %self.hook, "another node delivers the hook");
        }
    }

    /// Delivers while the lease is held. `Ok` at a stop.
    async fn deliver(&self, lease: &HookLease, stop: &CancellationToken) -> Result<(), LeaseLost> {
        let mut state = DeliveryState::new(self.rules.batch);
        let mut under_way = FuturesUnordered::new();
        let mut upkeep = interval(UPKEEP_INTERVAL);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Some(batch) = self.next_batch(lease, &mut state, under_way.len()).await? {
                under_way.push(self.attempt(lease, batch));
            }
            let now = Instant::now();
            let (wake, may_read) = (
                state.wake_at(now),
                state.may_read(under_way.len(), self.rules.concurrency, now),
            );
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                // Before the batches in this biased select: to a fast endpoint a batch is always done.
                _ = upkeep.tick() => self.keep_up(lease).await?,
                Some((batch, outcome)) = under_way.next(), if !under_way.is_empty() => {
                    self.finish(lease, &mut state, &batch, outcome?).await?;
                }
                // Not while nothing may be read: each send would wake this task.
                () = self.events.written(&self.hook), if may_read => {}
                () = sleep_until(wake) => {}
            }
        }
        let rest = async {
            while let Some((batch, outcome)) = under_way.next().await {
                self.finish(lease, &mut state, &batch, outcome?).await?;
            }
            Ok::<(), LeaseLost>(())
        };
        timeout(STOP_WAIT, rest).await.unwrap_or(Ok(()))
    }

    /// Returns the next batch, marked as under way; `None` if there is none to deliver now.
    async fn next_batch(
        &self,
        lease: &HookLease,
        state: &mut DeliveryState,
        under_way: usize,
    ) -> Result<Option<EventBatch>, LeaseLost> {
        let now = Instant::now();
        if !state.may_read(under_way, self.rules.concurrency, now) {
            return Ok(None);
        }
        let mut batch = self.read(lease, state, now).await?;
        if batch.is_none() && state.blocked.is_full() && state.blocked.hurry_largest(now) {
            batch = self.read(lease, state, now).await?;
        }
        if let Some(batch) = &batch {
            if batch.is_trial || state.pace.failures() > 0 {
                self.counters.retried();
            }
            state.begin(batch, now);
        }
        Ok(batch)
    }

    /// Reads the next batch; `None` if no event can be delivered now.
    async fn read(
        &self,
        lease: &HookLease,
        state: &mut DeliveryState,
        now: Instant,
    ) -> Result<Option<EventBatch>, LeaseLost> {
        let (outbox, items) = (&*self.outbox, state.pace.batch());
        let read = match read_batch(outbox, &self.hook, &mut state.blocked, items, now).await {
            Ok(read) => read,
            Err(error) => {
                warn_store(&self.hook, &ErrorChain(&error));
                state.pace.wait(now);
                return Ok(None);
            }
        };
        if !read.unreadable.is_empty() {
            let reason = "its record cannot be read; a newer release may have written it";
            let failed = read.unreadable.iter().map(|position| FailedDelivery {
                position: *position,
                error: reason.into(),
                attempts: 0,
            });
            self.bury(lease, failed.collect(), reason).await?;
        }
        Ok(Some(read.batch).filter(|batch| !batch.rows.is_empty()))
    }

    /// Attempts to deliver a batch, and removes it if it arrived. The removal is here and not in
    /// [`Self::finish`], so that the removals of several batches wait for the store side by side.
    async fn attempt(
        &self,
        lease: &HookLease,
        batch: EventBatch,
    ) -> (EventBatch, Result<DeliveryOutcome, LeaseLost>) {
        let outcome = match self.maker.make(&batch.events()).await {
            Ok(notifications) if notifications.is_empty() => DeliveryOutcome::Delivered,
            Ok(notifications) => self.endpoint.deliver(&notifications).await,
            Err(error) => DeliveryOutcome::Unreachable {
                error: ErrorChain(&error).to_string(),
                retry_after: None,
            },
        };
        if outcome == DeliveryOutcome::Delivered
            && let Err(lost) = self.remove(lease, &batch.positions()).await
        {
            return (batch, Err(lost));
        }
        (batch, Ok(outcome))
    }

    /// Records the outcome of an attempt. A batch that arrived is removed by now.
    async fn finish(
        &self,
        lease: &HookLease,
        state: &mut DeliveryState,
        batch: &EventBatch,
        outcome: DeliveryOutcome,
    ) -> Result<(), LeaseLost> {
        let now = Instant::now();
        let (error, is_refused) = match outcome {
            DeliveryOutcome::Delivered => {
                self.counters.delivered(batch.rows.len());
                if state.succeeded(batch, now) {
                    crate::info_rated!(hook = %self.hook, "hook delivers again");
                }
                return Ok(());
            }
            DeliveryOutcome::Unreachable { error, retry_after } => {
                self.note_failure(&error);
                state.pace.pause(now, retry_after, rand::random());
                if state.pace.failures() >= MIN_ATTEMPTS {
                    self.give_up_old(lease, state, batch, &error).await?;
                }
                state.blocked.end(&batch.rows);
                return Ok(());
            }
            DeliveryOutcome::Refused(error) => (error, true),
            DeliveryOutcome::Failed(error) => (error, false),
        };
        self.note_failure(&error);
        match batch.rows.as_slice() {
            [row] => {
                self.fail_alone(lease, state, row, &error).await?;
            }
            rows => {
                state.pace.split(rows.len());
                if !is_refused {
                    state.pace.pause(now, None, rand::random());
                }
            }
        }
        state.blocked.end(&batch.rows);
        Ok(())
    }

    /// Records the failure of a lone event: its receiver waits, or the event is given up.
    async fn fail_alone(
        &self,
        lease: &HookLease,
        state: &mut DeliveryState,
        row: &OutboxRow,
        error: &str,
    ) -> Result<(), LeaseLost> {
        let now = Instant::now();
        let Some(event) = &row.event else {
            return Ok(());
        };
        let receiver = event.body.receiver();
        // One event that fails is that event's fault, and only its receiver waits. If the events of several
        // receivers fail one after the other, the endpoint is ill, and is not asked about all of them.
        if state.is_ill_after(receiver) {
            state.pace.pause(now, None, rand::random());
        }
        let known = state.blocked.failing(receiver);
        let attempts = known.map_or(0, |it| it.attempts).saturating_add(1);
        let is_old = self.is_old(event) && attempts.max(state.pace.failures()) >= MIN_ATTEMPTS;
        let is_last = known.is_some_and(|it| it.is_last_attempt);
        if is_old || is_last {
            let reason = if is_last && !is_old {
                format!("given up because many later events wait: {error}")
            } else {
                error.to_owned()
            };
            let failed = FailedDelivery {
                position: row.position,
                error: reason,
                attempts,
            };
            self.bury(lease, vec![failed], error).await?;
            state.blocked.succeed(receiver);
            return Ok(());
        }
        let pause = pause_after(attempts, rand::random());
        state.blocked.fail(receiver, now + pause);
        Ok(())
    }

    /// Gives up the old events of a batch, and those after it: the endpoint has not been reached for
    /// so long that none of them has a chance.
    async fn give_up_old(
        &self,
        lease: &HookLease,
        state: &DeliveryState,
        batch: &EventBatch,
        error: &str,
    ) -> Result<(), LeaseLost> {
        let attempts = state.pace.failures();
        let mut old = self.old_of(&batch.rows, error, attempts);
        // Not those of other batches that are under way.
        let known = state.blocked.known();
        for _ in 0..MAX_SLICES {
            if old.is_empty() {
                return Ok(());
            }
            self.bury(lease, old, error).await?;
            let limit = PageLimit {
                items: GIVE_UP_ITEMS,
                bytes: 1 << 20,
            };
            let Ok(page) = self.outbox.read(&self.hook, &known, limit).await else {
                return Ok(());
            };
            old = self.old_of(&page.items, error, attempts);
        }
        Ok(())
    }

    fn old_of(&self, rows: &[OutboxRow], error: &str, attempts: u32) -> Vec<FailedDelivery> {
        let is_old = |row: &&OutboxRow| row.event.as_ref().is_some_and(|it| self.is_old(it));
        let old = rows.iter().take_while(is_old).map(|row| FailedDelivery {
            position: row.position,
            error: error.to_owned(),
            attempts,
        });
        old.collect()
    }

    /// Returns whether an event has been tried for long enough.
    fn is_old(&self, event: &HookEvent) -> bool {
        event.at.after(self.rules.retry_for) <= self.clock.now()
    }

    fn note_failure(&self, error: &str) {
        self.counters.failed(error, self.clock.now());
        crate::warn_rated!(hook = %self.hook, error, "hook not delivered, retrying");
    }

    /// Removes delivered events. They must not be delivered again, so this is tried until it succeeds.
    async fn remove(
        &self,
        lease: &HookLease,
        delivered: &[OutboxPosition],
    ) -> Result<(), LeaseLost> {
        loop {
            let removed = self.outbox.remove(lease, delivered).await;
            if let Some(result) = self.settled(removed).await {
                return result;
            }
        }
    }

    /// Moves events to the dead letters.
    async fn bury(
        &self,
        lease: &HookLease,
        failed: Vec<FailedDelivery>,
        error: &str,
    ) -> Result<(), LeaseLost> {
        let events = failed.len();
        loop {
            let at = self.clock.now();
            let buried = self.outbox.bury(lease, &failed, at).await;
            if let Some(result) = self.settled(buried).await {
                if result.is_ok() {
                    self.counters.gave_up(events);
                    crate::warn_rated!(
                        hook = %self.hook, events, error,
                        "events given up, they are dead letters now"
                    );
                }
                return result;
            }
        }
    }

    /// Returns the result of a change, or waits if the store failed and the change must be repeated.
    async fn settled(
        &self,
        changed: Result<LeasedOutcome, StoreError>,
    ) -> Option<Result<(), LeaseLost>> {
        match changed {
            Ok(LeasedOutcome::Done) => Some(Ok(())),
            Ok(LeasedOutcome::Lost) => Some(Err(LeaseLost)),
            Err(error) => {
                warn_store(&self.hook, &ErrorChain(&error));
                sleep(STORE_RETRY_PAUSE).await;
                None
            }
        }
    }

    /// Removes surplus events, and counts the backlog.
    async fn keep_up(&self, lease: &HookLease) -> Result<(), LeaseLost> {
        for _ in 0..MAX_SLICES {
            match self.outbox.trim(lease, self.bounds).await {
                Ok(dropped) if dropped.events == 0 && dropped.dead_letters == 0 => break,
                Ok(dropped) => {
                    self.counters.dropped(dropped);
                    let OutboxBounds {
                        events,
                        dead_letters,
                    } = dropped;
                    crate::error_rated!(
                        hook = %self.hook, events, dead_letters,
                        "a hook's outbox is full, its oldest events were removed"
                    );
                }
                Err(error) => {
                    warn_store(&self.hook, &ErrorChain(&error));
                    break;
                }
            }
        }
        if let Ok(backlog) = self.outbox.backlog(&self.hook).await {
            self.counters.set_backlog(Some(backlog));
        }
        Ok(())
    }
}

fn warn_store(hook: &HookName, error: &ErrorChain<'_>) {
    crate::warn_rated!(%error, %hook, "outbox of a hook not read or changed, retrying");
}
