//! One live connection, as its own task sees it: what to do next, and what came of it.
//!
//! The task polls for [`Work`], reads what it is told to read, and says what a SYNC was answered
//! with. What others offer meanwhile comes in by the handle's other half.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::close::CloseReason;
use super::cursor::Phase;
use super::handle::Handle;
use crate::envelope::{Delivery, Envelope};
use crate::id::RoomId;
use crate::seq::Seq;
use crate::store::RoomHistory;

/// Deliveries handed to the writer at a time.
const TAKE: usize = 64;

/// How long a connection waits before it reads again after a failed read.
const READ_RETRY: Duration = Duration::from_millis(500);

/// What the connection's task is to do next.
#[derive(Debug)]
pub enum Work {
    /// Write these.
    Deliver(VecDeque<Delivery>),
    /// Call `Connection::read`: the inbox, or a room's history, is to be read.
    Read,
    /// Say why, if the client can hear it, and close.
    Close(CloseReason),
}

impl Handle {
    /// When `poll_work` should be called although nothing woke it.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let state = self.lock();
        [state.parked_until(), state.live_at, state.retry_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Waits for the end alone, while nothing can be written.
    pub(crate) fn poll_close(&self, cx: &Context<'_>) -> Poll<CloseReason> {
        let mut state = self.lock();
        if let Some(reason) = state.close.clone() {
            return Poll::Ready(reason);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn poll_work(&self, cx: &Context<'_>, now: Instant) -> Poll<Work> {
        let mut state = self.lock();
        if let Some(reason) = state.close.clone() {
            return Poll::Ready(Work::Close(reason));
        }
        let lagged = state.lags();
        state.pass_deadlines(now);
        self.lags.turn(lagged, state.lags());
        if !state.outbox.is_empty() && !state.hold_live {
            let batch = state.outbox.take(TAKE);
            let last = batch.iter().rev().find_map(|d| match d {
                Delivery::Entry { seq, .. } => Some(*seq),
                Delivery::Live { .. } | Delivery::Room(_) => None,
            });
            let written = if state.outbox.is_empty() {
                Some(state.cursor.served())
            } else {
                last
            };
            state.acked_up_to(written);
            return Poll::Ready(Work::Deliver(batch));
        }
        if state.retry_at.is_some_and(|at| at <= now) {
            state.retry_at = None;
        }
        let history = state
            .room
            .as_ref()
            .is_some_and(|room| room.wants_history().is_some());
        if !state.superseded
            && state.retry_at.is_none()
            && state.outbox.is_empty()
            && (state.cursor.wants_read() || (history && !state.hold_live))
        {
            return Poll::Ready(Work::Read);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Where to read the inbox from, if it is to be read.
    pub(crate) fn begin_read(&self) -> Option<Seq> {
        let mut state = self.lock();
        state.cursor.wants_read().then(|| state.cursor.begin_read())
    }

    /// The read of the inbox has failed or was given up; it is tried again a little later. Without
    /// a read under way nothing happens.
    pub(crate) fn read_failed(&self) {
        let mut state = self.lock();
        if state.cursor.read_failed() {
            state.retry_at = Some(Instant::now() + READ_RETRY);
        }
    }

    /// The room's history could not be read; it is tried again a little later.
    pub(crate) fn history_failed(&self) {
        self.lock().retry_at = Some(Instant::now() + READ_RETRY);
    }

    /// Queues what a read brought; own sends are steps without a body. Returns `false` if the
    /// inbox's history went back.
    pub(crate) fn fill(&self, items: Vec<(Seq, Arc<Envelope>)>, more: bool, head: Seq) -> bool {
        let mut sound = true;
        self.change(|state| {
            if state.superseded {
                return false;
            }
            let brought = !items.is_empty();
            for (seq, envelope) in items {
                if seq <= state.cursor.served() {
                    continue;
                }
                let own = self.identity.sent(&envelope.message);
                // A page fits the budget, and it is read only when the outbox is empty.
                if !own {
                    state
                        .outbox
                        .push(Delivery::Entry { seq, envelope }, usize::MAX);
                }
                state.cursor.pass(seq);
            }
            sound = state.cursor.end_read(brought, more, head);
            self.unpark(state);
            state.cursor.settle();
            if state.outbox.is_empty() {
                let served = state.cursor.served();
                state.acked_up_to(Some(served));
            }
            true
        });
        sound
    }

    /// A SYNC from `asked` was answered with everything up to `upto`.
    pub(crate) fn synced(&self, asked: Seq, upto: Seq, more: bool) {
        self.change(|state| {
            if state.superseded {
                return false;
            }
            let first = state.cursor.phase() == Phase::Waiting;
            // A read that was given up for this SYNC need not wait.
            state.retry_at = None;
            state.cursor.synced(upto, more);
            state.outbox.forget(upto);
            state.hold_live = false;
            state.live_at = (state.cursor.phase() != Phase::Live)
                .then(|| Instant::now() + self.limits.sync_wait);
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

    /// Whether an ack of this number is one of an inbox entry served here, or named by its SYNC.
    pub(crate) fn may_ack(&self, seq: Seq) -> bool {
        let state = self.lock();
        seq > Seq::ZERO && !state.superseded && (state.ackable.0..=state.ackable.1).contains(&seq)
    }

    /// Which room's history is to be read, from where.
    pub(crate) fn wants_history(&self) -> Option<(RoomId, Seq)> {
        let state = self.lock();
        state
            .room
            .as_ref()
            .and_then(|room| Some((room.room, room.wants_history()?)))
    }

    /// Queues a page of a room's history; on the last page, also what was published meanwhile.
    pub(crate) fn fill_room(&self, room: RoomId, history: &RoomHistory) {
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
            if state.superseded {
                return false;
            }
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
                // The rest is read when this was written.
                cursor.interrupt();
            }
            true
        });
    }
}
