//! One live connection, as the rest of the node sees it.
//!
//! Pushers call [`Handle::offer`] and friends from anywhere; the connection's own task calls
//! `poll_work` and what follows from it. All of it is one short critical section; the lock is a
//! plain mutex because nothing is awaited under it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::close::CloseReason;
use super::cursor::{Cursor, Phase, Verdict};
use super::outbox::{Outbox, Parked};
use super::room::RoomCursor;
use crate::envelope::{Delivery, Envelope};
use crate::id::{ConnId, DeviceId, Generation, RoomId, UserId};
use crate::limits::Limits;
use crate::message::{Message, Sender};
use crate::seq::Seq;
use crate::store::{RoomHistory, RoomItem};

/// Deliveries handed to the writer at a time.
const TAKE: usize = 64;

/// How long a connection waits before it reads again after a failed read.
const READ_RETRY: Duration = Duration::from_millis(500);

/// Who a connection belongs to; fixed when it signs in.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The connection.
    pub conn: ConnId,
    /// The user.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// The sign-in.
    pub generation: Generation,
    /// The client's protocol version; 0 is a client of gim.
    pub protocol: u32,
    /// The client's address.
    pub client: String,
}

impl Identity {
    /// Whether this user sent the message from this device. A device that another user was signed
    /// in on before did not send for this one.
    #[must_use]
    pub fn sent(&self, message: &Message) -> bool {
        message.sender
            == Sender::User {
                user: self.user,
                device: Some(self.device),
            }
    }
}

/// What the connection's task is to do next.
#[derive(Debug)]
pub enum Work {
    /// Write these.
    Deliver(Vec<Delivery>),
    /// Call `Connection::read`: the inbox, or a room's history, is to be read.
    Read,
    /// Say why, if the client can hear it, and close.
    Close(CloseReason),
}

#[derive(Debug)]
struct State {
    cursor: Cursor,
    outbox: Outbox,
    parked: Parked,
    parked_until: Option<Instant>,
    /// When the connection goes live although no SYNC came.
    live_at: Option<Instant>,
    /// A read has failed: when the next one is tried.
    retry_at: Option<Instant>,
    /// Live deliveries wait for the first SYNC reply (old TCP clients).
    hold_live: bool,
    /// Where the inbox stood at sign-in.
    start: Seq,
    /// Numbers that an ack may name.
    ackable: (Seq, Seq),
    room: Option<Box<RoomCursor>>,
    close: Option<CloseReason>,
    superseded: bool,
    waker: Option<Waker>,
}

/// A live connection.
pub struct Handle {
    identity: Identity,
    outbox_bytes: usize,
    parked: (usize, usize, Duration),
    sync_wait: Duration,
    state: Mutex<State>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Handle {
    pub(crate) fn new(identity: Identity, hold_live: bool, limits: &Limits) -> Self {
        Self {
            identity,
            outbox_bytes: limits.outbox_bytes,
            parked: (
                limits.parked_entries,
                limits.parked_bytes,
                limits.parked_wait,
            ),
            sync_wait: limits.sync_wait,
            state: Mutex::new(State {
                cursor: Cursor::new(),
                outbox: Outbox::default(),
                parked: Parked::default(),
                parked_until: None,
                live_at: None,
                retry_at: None,
                hold_live,
                start: Seq::ZERO,
                ackable: (Seq::ZERO, Seq::ZERO),
                room: None,
                close: None,
                superseded: false,
                waker: None,
            }),
        }
    }

    /// Who it belongs to.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Bytes queued for it: never above the outbound budget, but for a single message.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.lock().outbox.bytes()
    }

    /// Whether a newer sign-in owns the device, or its right was taken away: this connection neither
    /// sends nor receives.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.lock().superseded
    }

    /// Offers an inbox entry; `None` is a step without a body (the device's own send).
    pub(crate) fn offer(&self, seq: Seq, envelope: Option<Arc<Envelope>>) {
        self.change(|state| {
            if state.superseded {
                return false;
            }
            match state.cursor.offer(seq) {
                Verdict::Drop => false,
                Verdict::Next => {
                    self.enqueue(state, seq, envelope);
                    self.unpark(state);
                    true
                }
                Verdict::Ahead => {
                    let (entries, bytes, wait) = self.parked;
                    if state.parked.park(seq, envelope, entries, bytes) {
                        state
                            .parked_until
                            .get_or_insert_with(|| Instant::now() + wait);
                    } else {
                        Self::lag(state);
                    }
                    true
                }
            }
        });
    }

    /// Offers something outside the inbox: best effort, dropped when the budget is used up.
    pub fn offer_live(&self, seq: Seq, envelope: &Arc<Envelope>) {
        self.change(|state| {
            let delivery = Delivery::Live {
                seq,
                envelope: Arc::clone(envelope),
            };
            !state.superseded && state.outbox.push(delivery, self.outbox_bytes)
        });
    }

    /// Offers a room's item, if the connection is subscribed to that room.
    pub(crate) fn offer_room(&self, item: &Arc<RoomItem>) {
        self.change(|state| {
            let Some(room) = state.room.as_mut().filter(|r| r.room == item.room) else {
                return false;
            };
            if state.superseded || !room.live(item) {
                return false;
            }
            // Best effort: what does not fit is not read again.
            self.enqueue_room(&mut state.outbox, room, item)
        });
    }

    /// The room's feed has a hole.
    pub(crate) fn interrupt_room(&self, room: RoomId) {
        self.change(
            |state| match state.room.as_mut().filter(|r| r.room == room) {
                Some(cursor) => {
                    cursor.interrupt();
                    true
                }
                None => false,
            },
        );
    }

    /// The inbox is known to reach this far.
    pub(crate) fn hint(&self, head: Seq) {
        self.change(|state| !state.superseded && state.cursor.hint(head));
    }

    /// Notes where the inbox stood at sign-in.
    pub(crate) fn start(&self, head: Seq) {
        self.change(|state| {
            state.start = head;
            if state.cursor.phase() == Phase::Waiting && !state.superseded {
                state.live_at = Some(Instant::now() + self.sync_wait);
            }
            state.cursor.hint(head);
            true
        });
    }

    /// A newer sign-in owns the device from now on. A client that can hear why is closed.
    pub(crate) fn supersede(&self) {
        self.change(|state| {
            Self::end(state);
            if self.identity.protocol > 0 {
                state.close.get_or_insert(CloseReason::Superseded);
            }
            true
        });
    }

    /// Ends the connection. One whose right was taken away is served nothing more from here on.
    pub(crate) fn close(&self, reason: CloseReason) {
        self.change(|state| {
            if matches!(reason, CloseReason::Revoked(_)) {
                Self::end(state);
            }
            state.close.get_or_insert(reason);
            true
        });
    }

    /// Wakes the connection's task: it may be served again.
    pub(crate) fn wake(&self) {
        self.change(|_| true);
    }

    /// Up to where this connection was served, if it is live.
    pub(crate) fn served(&self) -> Option<Seq> {
        let state = self.lock();
        (state.cursor.phase() == Phase::Live).then(|| state.cursor.served())
    }

    /// The largest entry it has heard of.
    pub(crate) fn head(&self) -> Seq {
        self.lock().cursor.head()
    }

    /// When `poll_work` should be called although nothing woke it.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let state = self.lock();
        [state.parked_until, state.live_at, state.retry_at]
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
        if state.live_at.is_some_and(|at| at <= now) {
            state.live_at = None;
            state.hold_live = false;
            if state.cursor.phase() == Phase::Waiting {
                let start = state.start;
                state.cursor.start_at(start);
                // Nothing up to there was served here.
                state.ackable = (start.next(), start);
            }
            state.cursor.go_live();
        }
        if state.parked_until.is_some_and(|at| at <= now) {
            Self::lag(&mut state);
        }
        if !state.outbox.is_empty() && !state.hold_live {
            let batch = state.outbox.take(TAKE);
            let last = batch.iter().rev().find_map(|d| match d {
                Delivery::Entry { seq, .. } => Some(*seq),
                Delivery::Live { .. } => None,
            });
            let written = if state.outbox.is_empty() {
                Some(state.cursor.served())
            } else {
                last
            };
            Self::acked_up_to(&mut state, written);
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
                Self::acked_up_to(state, Some(served));
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
            state.live_at =
                (state.cursor.phase() != Phase::Live).then(|| Instant::now() + self.sync_wait);
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

    /// Moves the subscription; returns the room that was left.
    pub(crate) fn enter_room(&self, to: Option<(RoomId, Seq)>) -> Option<RoomId> {
        let mut left = None;
        self.change(|state| {
            left = state.room.take().map(|room| room.room);
            state.room = to.map(|(room, from)| Box::new(RoomCursor::new(room, from)));
            false
        });
        left
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

    /// Queues a room's item unless it was before; `false` if the budget is used up.
    fn enqueue_room(&self, outbox: &mut Outbox, cursor: &mut RoomCursor, item: &RoomItem) -> bool {
        if !cursor.is_new(item) {
            return true;
        }
        let envelope = Arc::clone(&item.envelope);
        let delivery = Delivery::Live {
            seq: item.seq,
            envelope,
        };
        outbox.push(delivery, self.outbox_bytes) && cursor.pass(item)
    }

    /// Queues the next entry, or lags if the budget is used up.
    fn enqueue(&self, state: &mut State, seq: Seq, envelope: Option<Arc<Envelope>>) {
        let Some(envelope) = envelope else {
            state.cursor.pass(seq);
            if state.outbox.is_empty() {
                Self::acked_up_to(state, Some(seq));
            }
            return;
        };
        if state
            .outbox
            .push(Delivery::Entry { seq, envelope }, self.outbox_bytes)
        {
            state.cursor.pass(seq);
        } else {
            Self::lag(state);
        }
    }

    fn unpark(&self, state: &mut State) {
        while !state.parked.is_empty() {
            let next = state.cursor.served().next();
            let Some(envelope) = state.parked.take(next) else {
                break;
            };
            let before = state.cursor.served();
            self.enqueue(state, next, envelope);
            if state.cursor.served() == before {
                break;
            }
        }
        if state.parked.is_empty() {
            state.parked_until = None;
        }
    }

    /// It neither sends nor receives any more.
    fn end(state: &mut State) {
        state.superseded = true;
        state.outbox.clear();
        state.parked.clear();
        state.parked_until = None;
        state.live_at = None;
    }

    /// From now on the inbox is read instead of following pushes.
    fn lag(state: &mut State) {
        state.cursor.lag();
        state.parked.clear();
        state.parked_until = None;
    }

    fn acked_up_to(state: &mut State, seq: Option<Seq>) {
        if let Some(seq) = seq {
            state.ackable.1 = state.ackable.1.max(seq);
        }
    }

    /// Changes the state and, if the change says so, wakes the connection's task.
    fn change(&self, change: impl FnOnce(&mut State) -> bool) {
        let mut state = self.lock();
        let waker = if change(&mut state) {
            state.waker.take()
        } else {
            None
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
