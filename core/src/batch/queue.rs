//! The queue in front of the batch writer: bounded, ordered for each sender, and fair between
//! senders.
//!
//! While all waiting sends fit a few batches, they stay in one list in the order of arrival, and
//! the queue keeps no state per sender: nobody waits for more than those batches. A longer queue
//! is sorted into *flows*, one per sender, which are served by start-time fair queueing: each flow
//! gets an equal share of the store's work, measured in entries and content, however much it
//! sends. A sender with few sends therefore overtakes many busy ones.
//!
//! Admission is fair as well: a flow that already waits may take a quarter of the free space and
//! nothing of the last eighth. A busy flow finds the queue full while a new flow is still admitted.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::error::RequestRefusal;
use crate::limits::Limits;
use crate::map::FastHashMap;

use super::queued_send::{BatchSize, FlowKey, QueuedSend};
use super::statistics::BatchStatistics;

/// Divisor of the free space: the part that a flow with waiting sends may take.
const FLOW_SHARE_DIVISOR: usize = 4;
/// Divisor of the bounds: the part reserved for flows that have nothing waiting.
const NEW_FLOW_RESERVE_DIVISOR: usize = 8;
/// Divisor of the bounds: below this part the queue admits every send.
const LIGHT_LOAD_DIVISOR: usize = 4;
/// Batches that may be served in the order of arrival; a longer queue is sorted into flows, which
/// costs a tenth of a send in memory.
const UNSORTED_BATCHES: usize = 4;
/// Number of flows above which flows that are not ahead of their share are removed.
const SWEEP_MIN_FLOWS: usize = 1_024;
/// Minimum and maximum of the delay after which a refused sender may retry.
const RETRY_AFTER_RANGE: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(5));
/// Weight of the newest batch in the moving average of the time per send.
const NEWEST_BATCH_WEIGHT: f64 = 0.125;

/// The queue, shared by the services that enter sends and the batch writer.
#[derive(Debug)]
pub(super) struct SendQueue {
    state: Mutex<QueueState>,
    /// Written by the batch writer.
    pub(super) statistics: BatchStatistics,
}

/// State of the queue, under its lock.
#[derive(Debug)]
pub(super) struct QueueState {
    sends_max: usize,
    bytes_max: usize,
    /// Sends not yet sorted into flows, in the order of arrival.
    arrivals: VecDeque<QueuedSend>,
    /// Size of the arrivals.
    arrived: BatchSize,
    /// Limits of one batch.
    batch: BatchSize,
    flows: FastHashMap<FlowKey, SenderFlow>,
    /// Flows whose first send may be taken; the smallest start is next.
    order: BinaryHeap<Reverse<FairOrderEntry>>,
    /// Start of the send that was taken last; a flow that was empty starts here.
    virtual_time: u64,
    listed_count: u64,
    /// Number of sends that wait here.
    sends: usize,
    /// Number of sends that the batch writer has deferred.
    aside: usize,
    /// Bytes of sends not yet answered, including those in flight.
    bytes: usize,
    sweep_at: usize,
    seconds_per_send: f64,
    closed: bool,
    writer: Option<Waker>,
}

#[derive(Debug, Default)]
struct SenderFlow {
    sends: VecDeque<QueuedSend>,
    bytes: usize,
    /// Position of its first send in the fair order.
    start: u64,
    /// Position of its next send: behind the work it has already had.
    finish: u64,
    /// Set while the flow is in `order`. Clear while the batch writer holds it.
    listed: bool,
}

/// Entry of the fair order; equal starts are served in the order in which they were listed.
#[derive(Debug, PartialEq, Eq)]
struct FairOrderEntry {
    start: u64,
    number: u64,
    flow: FlowKey,
}

impl Ord for FairOrderEntry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.start, self.number).cmp(&(other.start, other.number))
    }
}

impl PartialOrd for FairOrderEntry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl SendQueue {
    pub(super) fn new(limits: &Limits) -> Self {
        let state = QueueState {
            sends_max: limits.send_queue.max(1),
            bytes_max: limits.send_queue_bytes,
            arrivals: VecDeque::new(),
            arrived: BatchSize::default(),
            batch: BatchSize::most(limits),
            flows: FastHashMap::default(),
            order: BinaryHeap::new(),
            virtual_time: 0,
            listed_count: 0,
            sends: 0,
            aside: 0,
            bytes: 0,
            sweep_at: SWEEP_MIN_FLOWS,
            seconds_per_send: 0.0,
            closed: false,
            writer: None,
        };
        Self {
            state: Mutex::new(state),
            statistics: BatchStatistics::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, QueueState> {
        // A poisoned lock is safe to use: no step below leaves a send in two places or none.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a send into the queue.
    ///
    /// # Errors
    /// [`RequestRefusal::Busy`] if the queue, or the sender's share of it, is full;
    /// [`RequestRefusal::Unavailable`] if it is closed.
    pub(super) fn enter(&self, send: QueuedSend) -> Result<(), RequestRefusal> {
        let mut state = self.lock();
        if state.closed {
            return Err(RequestRefusal::Unavailable);
        }
        if !state.admits(&send) {
            let retry_after = state.retry_after();
            return Err(RequestRefusal::Busy { retry_after });
        }
        state.sends += 1;
        state.bytes += send.caller.bytes;
        state.arrived.add(&send);
        state.arrivals.push_back(send);
        let writer = state.writer.take();
        // Wake outside the lock, because the batch writer takes this lock first.
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
        Ok(())
    }

    /// Admits no more sends; those that wait are still served.
    pub(super) fn close(&self) {
        self.lock().closed = true;
    }

    /// Polls for a send that the batch writer has not looked at; registers the writer to be woken.
    pub(super) fn poll_ready(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.arrivals.is_empty() || !state.order.is_empty() {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Returns the number of waiting sends, and the bytes of sends not yet answered.
    pub(super) fn depth(&self) -> (usize, usize) {
        let state = self.lock();
        (state.sends + state.aside, state.bytes)
    }
}

impl QueueState {
    fn admits(&mut self, send: &QueuedSend) -> bool {
        let (sends, bytes) = (self.sends + self.aside, self.bytes + send.caller.bytes);
        if sends >= self.sends_max || bytes > self.bytes_max {
            return false;
        }
        if sends < self.sends_max / LIGHT_LOAD_DIVISOR
            && bytes < self.bytes_max / LIGHT_LOAD_DIVISOR
        {
            return true;
        }
        self.sort();
        let Some(flow) = self.flows.get(&send.flow()) else {
            return true;
        };
        let share = |max: usize, taken| {
            let left = max - max / NEW_FLOW_RESERVE_DIVISOR;
            left.saturating_sub(taken) / FLOW_SHARE_DIVISOR
        };
        flow.sends.is_empty()
            || (flow.sends.len() < share(self.sends_max, sends)
                && flow.bytes + send.caller.bytes <= share(self.bytes_max, self.bytes))
    }

    /// Returns the estimated time until the waiting sends are done, at the pace of the last
    /// batches.
    fn retry_after(&self) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let seconds = (self.sends + self.aside) as f64 * self.seconds_per_send;
        Duration::from_secs_f64(seconds.clamp(
            RETRY_AFTER_RANGE.0.as_secs_f64(),
            RETRY_AFTER_RANGE.1.as_secs_f64(),
        ))
    }

    /// Updates the moving average of the time that the store takes for one send.
    pub(super) fn note_pace(&mut self, seconds_per_send: f64) {
        self.seconds_per_send += (seconds_per_send - self.seconds_per_send) * NEWEST_BATCH_WEIGHT;
    }

    /// Returns bytes to the budget, and updates the number of deferred sends.
    pub(super) fn settle(&mut self, freed: usize, aside: usize) {
        self.bytes -= freed.min(self.bytes);
        self.aside = aside;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sends == 0
    }

    /// Takes the next batch in the order of arrival; `None` if more than a few batches wait, or if
    /// any waiting send was sorted into a flow.
    ///
    /// The rest stays where it is, under the same lock: a send that is admitted meanwhile must not
    /// be sorted in front of an earlier one of its sender.
    pub(super) fn take_unsorted(&mut self) -> Option<Vec<QueuedSend>> {
        let is_short = self.arrived.is_within(&self.batch, UNSORTED_BATCHES);
        if self.sends != self.arrivals.len() || !is_short {
            return None;
        }
        let mut taken = BatchSize::default();
        let mut fitting = 0;
        for send in &self.arrivals {
            if !self.batch.fits(&taken, send) {
                break;
            }
            taken.add(send);
            fitting += 1;
        }
        self.sends -= fitting;
        self.arrived.subtract(&taken);
        if self.sends == 0 && !self.flows.is_empty() {
            // Nothing waits, so no flow is ahead of its share.
            self.flows.clear();
            self.virtual_time = 0;
        }
        Some(self.arrivals.drain(..fitting).collect())
    }

    /// Sorts the arrivals into flows.
    pub(super) fn sort(&mut self) {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        self.arrived = BatchSize::default();
        for send in arrivals.drain(..) {
            self.sort_in(send);
        }
        // Keep the buffer's capacity for the next arrivals.
        self.arrivals = arrivals;
    }

    fn sort_in(&mut self, send: QueuedSend) {
        if self.flows.len() >= self.sweep_at {
            self.sweep();
        }
        let key = send.flow();
        let virtual_time = self.virtual_time;
        let flow = self.flows.entry(key).or_default();
        let is_first = flow.sends.is_empty() && !flow.listed;
        flow.bytes += send.caller.bytes;
        flow.sends.push_back(send);
        if is_first {
            let start = flow.finish.max(virtual_time);
            self.list(key, start);
        }
    }

    /// Removes flows that have no waiting send and are not ahead of their share.
    fn sweep(&mut self) {
        let now = self.virtual_time;
        self.flows
            .retain(|_, flow| !flow.sends.is_empty() || flow.listed || flow.finish > now);
        self.sweep_at = (self.flows.len() * 2).max(SWEEP_MIN_FLOWS);
        self.flows.shrink_to(self.sweep_at);
    }

    fn list(&mut self, key: FlowKey, start: u64) {
        let Some(flow) = self.flows.get_mut(&key) else {
            return;
        };
        flow.start = start;
        flow.listed = true;
        self.listed_count += 1;
        self.order.push(Reverse(FairOrderEntry {
            start,
            number: self.listed_count,
            flow: key,
        }));
    }

    /// Takes the next flow out of the fair order. The caller then takes its first send, or lists
    /// the flow again, or parks it; a parked flow is in no list here, so the batch writer must
    /// remember it.
    pub(super) fn next_flow(&mut self) -> Option<FlowKey> {
        let Reverse(turn) = self.order.pop()?;
        if let Some(flow) = self.flows.get_mut(&turn.flow) {
            flow.listed = false;
        }
        Some(turn.flow)
    }

    /// Returns the first send of a flow.
    pub(super) fn head(&self, key: FlowKey) -> Option<&QueuedSend> {
        self.flows.get(&key)?.sends.front()
    }

    /// Takes the first send of a flow into a batch, and lists the flow again for its next send.
    pub(super) fn take_head(&mut self, key: FlowKey) -> Option<QueuedSend> {
        let flow = self.flows.get_mut(&key)?;
        let send = flow.sends.pop_front()?;
        self.sends -= 1;
        flow.bytes -= send.caller.bytes;
        flow.finish = flow.start + send.cost();
        let (start, next) = (flow.start, flow.finish);
        let goes_on = !flow.sends.is_empty();
        self.virtual_time = self.virtual_time.max(start);
        if goes_on {
            self.list(key, next);
        }
        Some(send)
    }

    /// Drops the first send of a flow, which its sender has withdrawn, and returns its bytes to the
    /// budget.
    pub(super) fn drop_head(&mut self, key: FlowKey) {
        let Some(flow) = self.flows.get_mut(&key) else {
            return;
        };
        if let Some(send) = flow.sends.pop_front() {
            self.sends -= 1;
            flow.bytes -= send.caller.bytes;
            self.bytes -= send.caller.bytes.min(self.bytes);
        }
    }

    /// Lists a flow again at its previous position.
    pub(super) fn list_again(&mut self, key: FlowKey) {
        if let Some(flow) = self.flows.get(&key) {
            let start = flow.start;
            self.list(key, start);
        }
    }
}
