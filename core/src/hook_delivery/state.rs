//! The state of a hook's delivery: when the next batch may be read, and what failed.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::hook_delivery::batch::EventBatch;
use crate::hook_delivery::blocked::BlockedReceivers;
use crate::hook_delivery::pace::DeliveryPace;
use crate::message::MessageReceiver;

/// Interval at which the outbox is read without a notification: events of other nodes.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Time for which events gather into one batch while another is under way, unless they fill it at once. A
/// request for each event would cost the node and the endpoint far more than the events do.
const GATHER_TIME: Duration = Duration::from_millis(10);
/// Number of receivers whose events fail by themselves, one receiver after the other, before the whole
/// hook pauses.
const ILL_RECEIVERS: usize = 5;

/// State of the delivery while the lease is held.
#[derive(Debug)]
pub(super) struct DeliveryState {
    pub(super) pace: DeliveryPace,
    pub(super) blocked: BlockedReceivers,
    /// Receivers of the lone events that failed since the last success, up to [`ILL_RECEIVERS`].
    failed_alone: HashSet<MessageReceiver>,
    /// Set after a batch that was not full: events gather until then.
    gather_until: Option<Instant>,
}

impl DeliveryState {
    /// Begins with full batches of this size.
    pub(super) fn new(batch: usize) -> Self {
        Self {
            pace: DeliveryPace::new(batch),
            blocked: BlockedReceivers::default(),
            failed_alone: HashSet::new(),
            gather_until: None,
        }
    }

    /// Returns whether another batch may be read now, beside those under way.
    pub(super) fn may_read(&self, under_way: usize, concurrency: usize, now: Instant) -> bool {
        let allowed = if self.pace.is_healthy() {
            concurrency.max(1)
        } else {
            1
        };
        let is_gathering = under_way > 0 && self.gather_until.is_some_and(|until| until > now);
        under_way < allowed && !is_gathering && self.pace.paused_until(now).is_none()
    }

    /// Records that this batch is under way.
    pub(super) fn begin(&mut self, batch: &EventBatch, now: Instant) {
        let is_partial = batch.rows.len() < self.pace.batch() && !batch.is_trial;
        self.gather_until = is_partial.then_some(now + GATHER_TIME);
        self.blocked.start(&batch.rows);
    }

    /// Records that an event of this receiver failed alone; returns whether the endpoint is ill.
    pub(super) fn is_ill_after(&mut self, receiver: MessageReceiver) -> bool {
        if self.failed_alone.len() < ILL_RECEIVERS {
            self.failed_alone.insert(receiver);
        }
        self.failed_alone.len() == ILL_RECEIVERS
    }

    /// Records a delivered batch; returns `true` if the endpoint had failed before.
    pub(super) fn succeeded(&mut self, batch: &EventBatch, now: Instant) -> bool {
        self.failed_alone.clear();
        let is_recovered = self.pace.succeeded();
        self.blocked.end(&batch.rows);
        if batch.is_trial {
            let receivers = batch.events().into_iter().map(|it| it.body.receiver());
            for receiver in receivers.collect::<Vec<MessageReceiver>>() {
                self.blocked.succeed(receiver);
            }
        }
        if is_recovered {
            // They may have failed because the endpoint did.
            self.blocked.retry_all(now);
        }
        is_recovered
    }

    /// Returns the time at which the outbox is read again without a notification.
    pub(super) fn wake_at(&self, now: Instant) -> Instant {
        let poll = now + POLL_INTERVAL;
        let gathered = self.gather_until.filter(|until| *until > now);
        let poll = gathered.map_or(poll, |until| until.min(poll));
        match (self.pace.paused_until(now), self.blocked.next_retry()) {
            (Some(resume), _) => resume,
            (None, Some(retry)) if retry > now => retry.min(poll),
            (None, _) => poll,
        }
    }
}
