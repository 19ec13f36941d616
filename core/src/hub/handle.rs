//! One live connection, as the rest of the node sees it.
//!
//! Any task may call [`ConnectionHandle::offer`] and its variants; the calls of the connection's
//! own task are in `task.rs`. Each call is one short critical section. The lock is a plain mutex
//! because nothing is awaited under it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::time::Instant;

use super::close::CloseReason;
use super::cursor::{PushVerdict, SyncPhase};
use super::identity::ConnectionIdentity;
use super::lags::LagCounter;
use super::outbox::ConnectionOutbox;
use super::room::RoomCursor;
use super::state::ConnectionState;
use crate::delivery::ConnectionDelivery;
use crate::envelope::Envelope;
use crate::id::RoomId;
use crate::limits::Limits;
use crate::message::Message;
use crate::room_batch::RoomBatch;
use crate::seq::Seq;
use crate::store::{Head, RoomItem};

/// A live connection.
pub struct ConnectionHandle {
    pub(super) identity: ConnectionIdentity,
    /// Set for a legacy TCP client, which gets one frame at a time.
    one_by_one: bool,
    /// Set if the device's own sends are delivered too, because their answers go elsewhere.
    echo: bool,
    /// The limits, shared by all connections.
    pub(super) limits: Arc<Limits>,
    pub(super) lags: Arc<LagCounter>,
    state: Mutex<ConnectionState>,
}

impl fmt::Debug for ConnectionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionHandle")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Drop for ConnectionHandle {
    fn drop(&mut self) {
        let lagged = self.lock().lags();
        self.lags.count_change(lagged, false);
    }
}

impl ConnectionHandle {
    pub(crate) fn new(
        identity: ConnectionIdentity,
        hold_live: bool,
        limits: &Arc<Limits>,
        lags: &Arc<LagCounter>,
    ) -> Self {
        Self {
            identity,
            one_by_one: hold_live,
            echo: false,
            limits: Arc::clone(limits),
            lags: Arc::clone(lags),
            state: Mutex::new(ConnectionState::new(hold_live)),
        }
    }

    /// Delivers the device's own sends too, if `echo` is set.
    #[must_use]
    pub(crate) const fn echoing(mut self, echo: bool) -> Self {
        self.echo = echo;
        self
    }

    /// Returns whether the answer to a send of this connection stands for the message, so that it is
    /// not delivered here.
    pub(super) fn was_answered(&self, message: &Message) -> bool {
        !self.echo && self.identity.sent(message)
    }

    /// Returns the user, device and sign-in of this connection.
    #[must_use]
    pub const fn identity(&self) -> &ConnectionIdentity {
        &self.identity
    }

    /// Returns the queued bytes: never above the outbound budget, except for a single larger
    /// message.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.lock().outbox.bytes()
    }

    /// Returns whether a newer sign-in owns the device or the right to it was revoked. Such a
    /// connection neither sends nor receives.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.lock().superseded
    }

    /// Offers an inbox entry; `None` is an entry without a body, for the device's own send. Returns
    /// the waker of the connection's task if there is work for it.
    pub(crate) fn offer(&self, seq: Seq, envelope: Option<Arc<Envelope>>) -> Option<Waker> {
        self.change_quietly(|state| {
            if state.superseded {
                return false;
            }
            match state.cursor.offer(seq) {
                PushVerdict::Drop => false,
                PushVerdict::Next => {
                    self.enqueue(state, seq, envelope);
                    self.unpark(state);
                    true
                }
                PushVerdict::Ahead => {
                    state.park(seq, envelope, &self.limits);
                    true
                }
            }
        })
    }

    /// Offers a message outside the inbox: best effort, dropped when the budget is used up.
    pub fn offer_live(&self, seq: Seq, envelope: &Arc<Envelope>) {
        if let Some(waker) = self.offer_live_quietly(seq, envelope) {
            waker.wake();
        }
    }

    /// As [`offer_live`](Self::offer_live), but returns the waker instead of calling it.
    pub(super) fn offer_live_quietly(&self, seq: Seq, envelope: &Arc<Envelope>) -> Option<Waker> {
        self.change_quietly(|state| {
            let delivery = ConnectionDelivery::Live {
                seq,
                envelope: Arc::clone(envelope),
            };
            !state.superseded && state.outbox.push(delivery, self.limits.outbox_bytes)
        })
    }

    /// Offers messages of a room, if the connection is subscribed to that room.
    pub(crate) fn offer_room(&self, batch: &Arc<RoomBatch>) {
        self.change(|state| {
            let Some(cursor) = state.room.as_mut().filter(|r| r.room == batch.room()) else {
                return false;
            };
            if state.superseded {
                return false;
            }
            // The common case shares one encoded batch among all members. Legacy clients and
            // members that have part of the batch already take the items one by one.
            let whole = batch.is_shared() && batch.weight() <= self.limits.outbox_bytes;
            if whole && !self.one_by_one && cursor.takes(batch) {
                let delivery = ConnectionDelivery::Room(Arc::clone(batch));
                if state.outbox.push(delivery, self.limits.outbox_bytes) {
                    return cursor.mark_served(batch.last());
                }
            }
            let mut news = false;
            for item in batch.items() {
                // Best effort: an item that does not fit is not read again.
                news |= cursor.live(item) && self.enqueue_room(&mut state.outbox, cursor, item);
            }
            news
        });
    }

    /// Marks a gap in the room's feed, so that its history is read again.
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

    /// Records that the inbox reaches this far.
    pub(crate) fn hint(&self, head: Seq) {
        self.change(|state| !state.superseded && state.cursor.hint(head));
    }

    /// Records the head and floor of the inbox at sign-in.
    pub(crate) fn start(&self, head: Head) {
        self.change(|state| {
            state.start = head.head;
            let kept = head.head.get().saturating_sub(head.floor.get());
            state.kept = u32::try_from(kept).unwrap_or(u32::MAX);
            if state.cursor.phase() == SyncPhase::Waiting && !state.superseded {
                state.live_at = Some(Instant::now() + self.limits.sync_wait);
            }
            state.cursor.hint(head.head);
            true
        });
    }

    /// Returns the head if a SYNC from `asked` has nothing to read: the connection signed in a
    /// moment ago, when it could already get pushes, `asked` was the head then, and no push has
    /// arrived since.
    pub(crate) fn up_to_date(&self, asked: Seq) -> Option<Head> {
        let state = self.lock();
        let signed_in = state.live_at? - self.limits.sync_wait;
        let known = state.cursor.phase() == SyncPhase::Waiting
            && asked == state.start
            && asked == state.cursor.head()
            && state.kept < u32::MAX
            && signed_in.elapsed() < self.limits.head_check;
        known.then(|| Head {
            head: asked,
            floor: Seq::new(asked.get().saturating_sub(u64::from(state.kept))),
        })
    }

    /// Gives the device to a newer sign-in. A client whose protocol can report the reason is
    /// closed.
    pub(crate) fn supersede(&self) {
        self.change(|state| {
            state.end();
            if self.identity.protocol > 0 {
                state.close.get_or_insert(CloseReason::Superseded);
            }
            true
        });
    }

    /// Closes the connection. If its right was revoked, it is served nothing more from here on.
    pub(crate) fn close(&self, reason: CloseReason) {
        self.change(|state| {
            if reason.is_revocation() {
                state.end();
            }
            state.close.get_or_insert(reason);
            true
        });
    }

    /// Wakes the connection's task, because it may be served again.
    pub(crate) fn wake(&self) {
        self.change(|_| true);
    }

    /// Returns the last entry served if the connection is live.
    pub(crate) fn served(&self) -> Option<Seq> {
        let state = self.lock();
        (state.cursor.phase() == SyncPhase::Live).then(|| state.cursor.served())
    }

    /// Returns the largest seq that the connection knows of.
    pub(crate) fn head(&self) -> Seq {
        self.lock().cursor.head()
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

    /// Returns whether the connection is subscribed to this room.
    pub(crate) fn follows(&self, room: RoomId) -> bool {
        self.lock().room.as_ref().is_some_and(|it| it.room == room)
    }

    /// Ends the subscription if it is to this room.
    pub(crate) fn quit_room(&self, room: RoomId) {
        self.change(|state| {
            state.room.take_if(|it| it.room == room);
            false
        });
    }

    /// Queues a room's message unless it was queued before; `false` if the budget is used up.
    pub(super) fn enqueue_room(
        &self,
        outbox: &mut ConnectionOutbox,
        cursor: &mut RoomCursor,
        item: &RoomItem,
    ) -> bool {
        if !cursor.is_new(item) {
            return true;
        }
        let envelope = Arc::clone(&item.envelope);
        let delivery = ConnectionDelivery::Live {
            seq: item.seq,
            envelope,
        };
        outbox.push(delivery, self.limits.outbox_bytes) && cursor.mark_served(item)
    }

    /// Queues the next entry, or starts to lag if the budget is used up.
    fn enqueue(&self, state: &mut ConnectionState, seq: Seq, envelope: Option<Arc<Envelope>>) {
        let Some(envelope) = envelope else {
            state.cursor.mark_served(seq);
            // An own send is served without being written. It may be acked at once if nothing
            // before it still waits to be written.
            if state.outbox.is_empty() {
                state.acked_up_to(Some(seq));
            }
            return;
        };
        if state.outbox.push(
            ConnectionDelivery::Entry { seq, envelope },
            self.limits.outbox_bytes,
        ) {
            state.cursor.mark_served(seq);
        } else {
            state.lag();
        }
    }

    /// Queues the parked entries that have become the next ones, in order.
    pub(super) fn unpark(&self, state: &mut ConnectionState) {
        loop {
            let next = state.cursor.served().next();
            let Some(envelope) = state.unpark(next) else {
                break;
            };
            let before = state.cursor.served();
            self.enqueue(state, next, envelope);
            if state.cursor.served() == before {
                break;
            }
        }
    }

    /// Changes the state, and wakes the connection's task if the change returns `true`.
    pub(super) fn change(&self, change: impl FnOnce(&mut ConnectionState) -> bool) {
        if let Some(waker) = self.change_quietly(change) {
            waker.wake();
        }
    }

    /// Changes the state, and returns the waker of the connection's task if the change returns
    /// `true`.
    fn change_quietly(&self, change: impl FnOnce(&mut ConnectionState) -> bool) -> Option<Waker> {
        let mut state = self.lock();
        let lagged = state.lags();
        let waker = if change(&mut state) {
            state.waker.take()
        } else {
            None
        };
        let lags = state.lags();
        drop(state);
        self.lags.count_change(lagged, lags);
        waker
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ConnectionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
