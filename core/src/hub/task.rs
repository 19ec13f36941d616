//! One live connection, as its own task sees it: its next work, and the results of that work.
//!
//! The task polls for [`ConnectionWork`], reads the inbox or a history if needed, and reports the
//! answers to SYNC. Offers of other tasks arrive through `handle.rs`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::close::CloseReason;
use super::cursor::SyncPhase;
use super::handle::ConnectionHandle;
use crate::delivery::ConnectionDelivery;
use crate::envelope::Envelope;
use crate::id::RoomId;
use crate::seq::Seq;
use crate::store::RoomHistory;

/// Maximum number of deliveries handed to the writer at a time.
const DELIVERIES_PER_TAKE: usize = 64;

/// Pause before a failed read of the inbox is repeated.
const READ_RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Next work of the connection's task.
#[derive(Debug)]
pub enum ConnectionWork {
    /// Write these deliveries.
    Deliver(VecDeque<ConnectionDelivery>),
    /// Call `ClientConnection::read`, which reads the inbox or a room's history.
    Read,
    /// Report the reason if the client's protocol allows it, then close.
    Close(CloseReason),
}

impl ConnectionHandle {
    /// Returns the time at which `poll_work` must be called although nothing wakes the task.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let state = self.lock();
        // A superseded connection reads nothing more, so `poll_work` would not clear a time at
        // which a read is repeated, and the session's timer would fire without a pause.
        if state.superseded {
            return None;
        }
        let history = state.room.as_ref().and_then(|room| room.retry_at);
        [state.parked_until(), state.live_at, state.retry_at, history]
            .into_iter()
            .flatten()
            .min()
    }

    /// Polls for the close alone, while nothing can be written.
    pub(crate) fn poll_close(&self, cx: &Context<'_>) -> Poll<CloseReason> {
        let mut state = self.lock();
        if let Some(reason) = state.close.clone() {
            return Poll::Ready(reason);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Polls for the next work of the connection's task; registers the task to be woken.
    ///
    /// The order matters: a close comes before everything else; passed deadlines come before the
    /// check for work, because they can create some; queued deliveries come before a read, which
    /// needs an empty outbox. The waker is stored under the same lock as these checks, so no offer
    /// is missed.
    pub(crate) fn poll_work(&self, cx: &Context<'_>, now: Instant) -> Poll<ConnectionWork> {
        let mut state = self.lock();
        if let Some(reason) = state.close.clone() {
            return Poll::Ready(ConnectionWork::Close(reason));
        }
        let lagged = state.lags();
        state.pass_deadlines(now);
        self.lags.count_change(lagged, state.lags());
        if !state.outbox.is_empty() && !state.hold_until_sync {
            let batch = state.outbox.take(DELIVERIES_PER_TAKE);
            let last = batch.iter().rev().find_map(|d| match d {
                ConnectionDelivery::Entry { seq, .. } => Some(*seq),
                ConnectionDelivery::Live { .. } | ConnectionDelivery::Room(_) => None,
            });
            // An ack may name the entries handed out here. If the outbox is empty, that includes
            // own sends, which are served without being queued.
            let written = if state.outbox.is_empty() {
                Some(state.cursor.served())
            } else {
                last
            };
            state.acked_up_to(written);
            return Poll::Ready(ConnectionWork::Deliver(batch));
        }
        if state.retry_at.is_some_and(|at| at <= now) {
            state.retry_at = None;
        }
        let inbox = state.retry_at.is_none() && state.cursor.wants_read();
        let room = state.room.as_ref().filter(|_| !state.hold_until_sync);
        let history = room.is_some_and(|room| room.wants_history(now));
        if !state.superseded && state.outbox.is_empty() && (inbox || history) {
            return Poll::Ready(ConnectionWork::Read);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Begins a read of the inbox if one is needed; returns the seq after which to read.
    pub(crate) fn begin_read(&self) -> Option<Seq> {
        let mut state = self.lock();
        let now = state.retry_at.is_none() && state.cursor.wants_read();
        now.then(|| state.cursor.begin_read())
    }

    /// Ends a read of the inbox that failed or was abandoned; it is repeated after a pause. Does
    /// nothing without a read in progress.
    pub(crate) fn read_failed(&self) {
        let mut state = self.lock();
        if state.cursor.read_failed() {
            state.retry_at = Some(Instant::now() + READ_RETRY_PAUSE);
        }
    }

    /// Ends a request for the room's history that failed; it is repeated later.
    pub(crate) fn history_failed(&self, room: RoomId, request_id: u64) {
        // Wakes the task, because its next deadline has changed.
        self.change(|state| {
            let mut cursor = state.room.as_mut().filter(|r| r.room == room);
            let cursor = cursor.take_if(|it| it.requested_from(request_id).is_some());
            let failed = cursor.is_some();
            if let Some(cursor) = cursor {
                cursor.fail_request();
            }
            failed
        });
    }

    /// Queues the entries of a read, except own sends that were answered here, which the client has.
    /// Returns `false` if the inbox's history went back.
    pub(crate) fn fill(&self, items: Vec<(Seq, Arc<Envelope>)>, more: bool, head: Seq) -> bool {
        let mut history_holds = true;
        self.change(|state| {
            if state.superseded {
                return false;
            }
            let has_entries = !items.is_empty();
            for (seq, envelope) in items {
                if seq <= state.cursor.served() {
                    continue;
                }
                let own = self.was_answered(&envelope.message);
                // A page fits the budget, and it is read only while the outbox is empty.
                if !own {
                    state
                        .outbox
                        .push(ConnectionDelivery::Entry { seq, envelope }, usize::MAX);
                }
                state.cursor.mark_served(seq);
            }
            // The read ends before parked entries are queued, because they follow its entries; then
            // the cursor may have nothing left to read.
            history_holds = state.cursor.end_read(has_entries, more, head);
            self.unpark(state);
            state.cursor.settle();
            if state.outbox.is_empty() {
                let served = state.cursor.served();
                state.acked_up_to(Some(served));
            }
            true
        });
        history_holds
    }

    /// Records that a SYNC from `asked` was answered with everything up to `upto`.
    pub(crate) fn synced(&self, asked: Seq, upto: Seq, more: bool) {
        self.change(|state| {
            if state.superseded {
                return false;
            }
            let first = state.cursor.phase() == SyncPhase::Waiting;
            // A read that was abandoned for this SYNC need not wait for its retry.
            state.retry_at = None;
            state.cursor.synced(upto, more);
            state.outbox.forget(upto);
            state.hold_until_sync = false;
            state.live_at = (state.cursor.phase() != SyncPhase::Live)
                .then(|| Instant::now() + self.limits.sync_wait);
            // Acks may go down to the lowest seq from which a SYNC asked: the client has said that it
            // has the entries up to there.
            let low = if first {
                asked
            } else {
                state.ackable.0.min(asked)
            };
            state.ackable = (low, state.ackable.1.max(upto).max(low));
            self.unpark(state);
            true
        });
    }

    /// Returns whether an ack may name this seq: an inbox entry that was served here or is covered
    /// by its SYNC.
    pub(crate) fn may_ack(&self, seq: Seq) -> bool {
        let state = self.lock();
        seq > Seq::ZERO && !state.superseded && (state.ackable.0..=state.ackable.1).contains(&seq)
    }

    /// Records a request for a page of the room's history if one is needed; returns the room.
    pub(crate) fn request_history(&self, request_id: u64) -> Option<RoomId> {
        let mut state = self.lock();
        if state.superseded || state.hold_until_sync || !state.outbox.is_empty() {
            return None;
        }
        let room = state.room.as_mut();
        let room = room.filter(|room| room.wants_history(Instant::now()))?;
        room.request(request_id);
        Some(room.room)
    }

    /// Returns the seq from which history must be read for this request, if it is still needed.
    pub(crate) fn requested_from(&self, room: RoomId, request_id: u64) -> Option<Seq> {
        let state = self.lock();
        let cursor = state.room.as_ref().filter(|r| r.room == room);
        cursor.and_then(|cursor| cursor.requested_from(request_id))
    }

    /// Queues a page of a room's history; after the last page, also the messages published
    /// meanwhile. Returns `false` if the page ends before the seq from which this request asks. The
    /// page must have been read after the request was made, and must not begin after that seq.
    pub(crate) fn fill_room(&self, room: RoomId, request_id: u64, history: &RoomHistory) -> bool {
        let mut served = true;
        let RoomHistory {
            stream,
            head,
            ref items,
            more,
        } = *history;
        self.change(|state| {
            let Some(cursor) = state.room.as_mut().filter(|r| r.room == room) else {
                return false;
            };
            let Some(from) = cursor.requested_from(request_id) else {
                return false;
            };
            served = !more || items.last().is_some_and(|last| from <= last.seq);
            if state.superseded || !served {
                return false;
            }
            cursor.end_request();
            if !cursor.meets(stream, head) {
                return true;
            }
            let mut fits = items
                .iter()
                .all(|item| self.enqueue_room(&mut state.outbox, cursor, item));
            if fits && !more {
                let held = cursor.end_history();
                fits = held
                    .iter()
                    .all(|item| self.enqueue_room(&mut state.outbox, cursor, item));
            }
            if !fits {
                // The rest is read after this was written.
                cursor.interrupt();
            }
            true
        });
        served
    }
}
