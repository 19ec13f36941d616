//! One signed-in connection: the operations that its wire may call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::displaced::NOT_OWNER;
use super::inner::{GatewayInner, SyncFromZero};
use crate::envelope::Envelope;
use crate::error::RequestRefusal;
use crate::hub::{CloseReason, ConnectionHandle, ConnectionIdentity, ConnectionWork};
use crate::id::{Epoch, RoomId};
use crate::message::{MessageDraft, MessageSender};
use crate::page::PageLimit;
use crate::send_future::SendFuture;
use crate::seq::Seq;
use crate::store::Head;

/// Interval at which a fenced connection checks whether the pause has ended.
const FENCED_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Time that a SYNC waits for a read permit.
const READ_PERMIT_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Largest number of pages that one SYNC of a legacy client reads while they hold nothing but its
/// own sends.
const MAX_OWN_SEND_PAGES: usize = 4;

/// A page for SYNC, before the wire trims it to its frame.
#[derive(Debug)]
pub struct SyncPage {
    /// The entries, ascending.
    pub items: Vec<(Seq, Arc<Envelope>)>,
    /// Start of the page: all items are above it.
    pub from: Seq,
    /// Set if the inbox has entries after the last item.
    pub more: bool,
    /// End of the page if all of it is sent: the last item, or the end of what was read.
    pub upto: Seq,
    /// The epoch of the inboxes' history.
    pub epoch: Epoch,
    /// Head and floor of the inbox.
    pub head: Head,
}

/// A signed-in connection. Dropping it ends the connection: it leaves the hub and its room, its
/// route is released, and its acks are written.
#[derive(Debug)]
pub struct ClientConnection {
    inner: Arc<GatewayInner>,
    handle: Arc<ConnectionHandle>,
    /// Entries from this device's last ack up to here are its own sends only.
    own_upto: AtomicU64,
    legacy: bool,
}

impl ClientConnection {
    pub(super) const fn new(
        inner: Arc<GatewayInner>,
        handle: Arc<ConnectionHandle>,
        is_legacy: bool,
    ) -> Self {
        Self {
            inner,
            handle,
            own_upto: AtomicU64::new(0),
            legacy: is_legacy,
        }
    }

    /// Returns the user, device and sign-in of this connection.
    #[must_use]
    pub fn identity(&self) -> &ConnectionIdentity {
        self.handle.identity()
    }

    /// Returns the connection as the hub sees it.
    #[must_use]
    pub const fn handle(&self) -> &Arc<ConnectionHandle> {
        &self.handle
    }

    /// Returns the epoch and the largest seq that this connection knows of.
    #[must_use]
    pub fn head(&self) -> (Epoch, Seq) {
        (self.inner.context.known_epoch(), self.handle.head())
    }

    /// Handles a heartbeat: requests a comparison of the inbox with the cursor, and returns
    /// [`head`](Self::head).
    ///
    /// # Errors
    /// [`RequestRefusal::RateLimited`] if the user sends more requests than it may.
    pub fn heartbeat(&self) -> Result<(Epoch, Seq), RequestRefusal> {
        self.take_rate()?;
        self.inner.heads.ask(self.identity().user);
        Ok(self.head())
    }

    /// Reads the page that answers a SYNC from `asked`. The wire calls [`synced`](Self::synced)
    /// once it knows how much of the page fits its frame.
    pub async fn sync(&self, asked: Seq) -> Result<SyncPage, RequestRefusal> {
        self.take_rate()?;
        self.check_owner().await?;
        let inner = &self.inner;
        if let Some(head) = self.up_to_date(asked) {
            // Pushes may not reach the connection yet, for example while its route is not
            // registered, so the heads are compared again soon.
            inner.heads.ask(self.identity().user);
            return Ok(SyncPage {
                items: Vec::new(),
                from: asked,
                more: false,
                upto: asked,
                epoch: self.inner.context.epoch().await?,
                head,
            });
        }
        let user = self.identity().user;
        let mut from = self.sync_start(asked).await?;
        if from < asked {
            // Entries up to `own_upto` are known to be own sends. An ack below it can only move
            // forward.
            let own = Seq::new(self.own_upto.load(Ordering::Relaxed));
            from = from.max(own.min(asked));
        }
        let limit = PageLimit {
            items: inner.context.limits.page_items,
            bytes: inner.context.limits.page_bytes,
        };
        let turn = tokio::time::timeout(READ_PERMIT_TIMEOUT, inner.reads.acquire()).await;
        let _turn = turn.map_err(|_| RequestRefusal::Unavailable)?;
        let mut page = inner.context.logic.page(user, from, limit).await?;
        let mut upto = page.upto(from);
        if from < asked && asked <= page.head.head {
            // fim, gim's client, counts its own sends as received, so it may name a seq above
            // pushes that it has missed. A message that another user sent under this device id is
            // not its own.
            let identity = self.identity();
            let wanted =
                |seq: Seq, envelope: &Envelope| seq > asked || !identity.sent(&envelope.message);
            page.items.retain(|(seq, envelope)| wanted(*seq, envelope));
            let mut pages = 1;
            while page.items.is_empty() && page.more && pages < MAX_OWN_SEND_PAGES {
                pages += 1;
                page = inner.context.logic.page(user, upto, limit).await?;
                upto = page.upto(upto);
                page.items.retain(|(seq, envelope)| wanted(*seq, envelope));
            }
            if page.items.is_empty() {
                let own = upto.min(asked).get();
                self.own_upto.fetch_max(own, Ordering::Relaxed);
            }
            // With `more`, the client asks again from `upto`, or the gateway reads on from there.
            if !page.more {
                upto = upto.max(asked);
            }
        }
        let upto = upto.min(page.head.head);
        let epoch = self.inner.context.epoch().await?;
        Ok(SyncPage {
            items: page.items,
            from,
            more: page.more,
            upto,
            epoch,
            head: page.head,
        })
    }

    /// Records that a SYNC was answered with everything above `from` up to `upto`. Without `more`,
    /// the connection is live from now on.
    pub fn synced(&self, from: Seq, upto: Seq, more: bool) {
        self.handle.synced(from.min(upto), upto, more);
    }

    /// Acks an entry. A number that is not an entry served here changes nothing (law 9).
    pub fn ack(&self, upto: Seq) {
        if self.handle.may_ack(upto) {
            let identity = self.identity();
            self.inner.acks.note(identity.user, identity.device, upto);
        }
    }

    /// Sends on the user's behalf. Sends are stored in the order of these calls.
    pub fn send(&self, draft: MessageDraft) -> SendFuture {
        let ConnectionIdentity { user, device, .. } = *self.identity();
        let sender = MessageSender::User {
            user,
            device: Some(device),
        };
        let inner = &self.inner;
        if !inner.pause_detector.is_current(Instant::now()) {
            // Fenced after a pause: the device may have signed in elsewhere, so ownership is
            // checked after the routes were compared and before anything is stored.
            let (inner, handle) = (Arc::clone(&self.inner), Arc::clone(&self.handle));
            return SendFuture::lazy(async move {
                inner.pause_detector.wait_until_current().await;
                owns(&handle)?;
                inner.context.logic.send(sender, draft).await
            });
        }
        match owns(&self.handle) {
            Ok(()) => inner.context.logic.send(sender, draft),
            Err(refusal) => SendFuture::done(Err(refusal)),
        }
    }

    /// Moves the subscription to another room, or ends it. From `from` on (inclusive) the kept
    /// history follows through [`ConnectionWork::Read`], then new messages; `Seq::ZERO` means new
    /// messages only.
    ///
    /// A move that has begun is completed even if this future is dropped.
    pub async fn subscribe(&self, room: Option<RoomId>, from: Seq) -> Result<(), RequestRefusal> {
        self.take_rate()?;
        self.check_owner().await?;
        // The cursor moves first: from here on no message of the old room is queued, although the
        // fan-out of the old room may still hold this connection.
        let left = self.handle.enter_room(room.map(|room| (room, from)));
        let left = left.filter(|left| Some(*left) != room);
        if left.is_none() && room.is_none() {
            return Ok(());
        }
        // A task of its own, because this future is dropped when the client disconnects. A move
        // that stops halfway would leave the connection in its old room, or the new room with a
        // member and without the node's subscription.
        let (inner, handle) = (Arc::clone(&self.inner), Arc::clone(&self.handle));
        let moved = self.inner.context.tracker.spawn(async move {
            if let Some(left) = left {
                inner.leave_room(left, &handle).await;
            }
            match room {
                Some(room) => inner.join_room(room, &handle).await,
                None => Ok(()),
            }
        });
        moved.await.unwrap_or_else(|panic| {
            crate::error_rated!(%panic, "a room subscription panicked");
            Err(RequestRefusal::Unavailable)
        })
    }

    /// Polls for the next work of the connection's task; registers the task to be woken.
    pub fn poll_work(&self, cx: &Context<'_>, now: Instant) -> Poll<ConnectionWork> {
        if self.poll_current(cx, now).is_ready() {
            self.handle.poll_work(cx, now)
        } else {
            self.handle.poll_close(cx).map(ConnectionWork::Close)
        }
    }

    /// Polls until the connection may be served, which is not the case during and right after a
    /// pause of the process. Work taken before a pause is not written either until the routes were
    /// compared. Registers the task to be woken.
    pub fn poll_current(&self, cx: &Context<'_>, now: Instant) -> Poll<()> {
        let detector = &self.inner.pause_detector;
        if detector.is_current(now) {
            return Poll::Ready(());
        }
        // Registers the task first, then checks again: the pause may have ended in between.
        let _ = self.handle.poll_close(cx);
        if detector.is_current(Instant::now()) {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Polls for the close alone, while nothing can be written to the client; registers the task to
    /// be woken.
    pub fn poll_close(&self, cx: &Context<'_>) -> Poll<CloseReason> {
        self.handle.poll_close(cx)
    }

    /// Returns the time at which [`poll_work`](Self::poll_work) must be called although nothing
    /// wakes the task.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let now = Instant::now();
        if self.inner.pause_detector.is_current(now) {
            self.handle.next_deadline()
        } else {
            // The end of the pause may have come before the task registered, so it is checked again
            // soon.
            Some(now + FENCED_POLL_INTERVAL)
        }
    }

    /// Reads a page of the inbox and requests a page of the room's history, as far as they are
    /// needed; called for [`ConnectionWork::Read`]. The history arrives later and does not delay
    /// the inbox.
    ///
    /// # Errors
    /// The store could not be read; a later call continues.
    pub async fn read(&self) -> Result<(), RequestRefusal> {
        let read = self.read_inbox().await;
        self.inner.histories.request(&self.handle);
        read
    }

    async fn read_inbox(&self) -> Result<(), RequestRefusal> {
        let inner = &self.inner;
        inner.pause_detector.wait_until_current().await;
        let _turn = inner.reads.acquire().await;
        let Some(after) = self.handle.begin_read() else {
            return Ok(());
        };
        let limit = PageLimit {
            items: inner.context.limits.page_items,
            bytes: inner.context.limits.page_bytes,
        };
        // From here on, dropping the future marks the read as failed, so that it is tried again.
        let _reading = InboxReadGuard(&self.handle);
        let page = inner
            .context
            .logic
            .page(self.identity().user, after, limit)
            .await?;
        if !self.handle.fill(page.items, page.more, page.head.head) {
            crate::error_rated!(user = %self.identity().user, "inbox is shorter than announced");
            // The comparison with the entries served ends the history (law 10).
            inner.heads.ask(self.identity().user);
        }
        Ok(())
    }

    /// Returns the head if a SYNC from `asked` has nothing to read. This is the usual case after a
    /// restart.
    fn up_to_date(&self, asked: Seq) -> Option<Head> {
        // A legacy client may not have received the pushes before its own sends.
        let all = !self.legacy || asked == Seq::ZERO;
        all.then(|| self.handle.up_to_date(asked)).flatten()
    }

    /// Returns the seq after which the page for a SYNC from `asked` starts.
    async fn sync_start(&self, asked: Seq) -> Result<Seq, RequestRefusal> {
        let inner = &self.inner;
        let by_ack = asked == Seq::ZERO && inner.from_zero != SyncFromZero::All;
        if !by_ack && (!self.legacy || asked == Seq::ZERO) {
            return Ok(asked);
        }
        let ConnectionIdentity { user, device, .. } = *self.identity();
        let by_user = by_ack && inner.from_zero == SyncFromZero::UserAck;
        // Acks that are not written yet are read before the stored ones; `acks` says why.
        let noted = if by_user {
            let handles = inner.context.hub.of(user);
            let devices = handles.iter().map(|handle| handle.identity().device);
            devices.map(|device| inner.acks.noted(user, device)).max()
        } else {
            Some(inner.acks.noted(user, device))
        };
        let marks = inner.context.logic.acked(user).await?;
        let stored = marks
            .iter()
            .filter(|(of, _)| by_user || *of == device)
            .map(|(_, seq)| *seq)
            .max();
        let mark = stored.max(noted).unwrap_or_default();
        if by_ack || mark == Seq::ZERO {
            return Ok(mark.max(asked));
        }
        Ok(mark.min(asked))
    }

    /// Charges the user's request rate for a request that costs more than its packet: a read of the
    /// store, a subscription, or a comparison of heads.
    fn take_rate(&self) -> Result<(), RequestRefusal> {
        let taken = self.inner.requests.take(self.identity().user);
        taken.map_err(|retry_after| RequestRefusal::RateLimited { retry_after })
    }

    async fn check_owner(&self) -> Result<(), RequestRefusal> {
        self.inner.pause_detector.wait_until_current().await;
        owns(&self.handle)
    }
}

/// Checks that the connection still owns its device.
fn owns(handle: &ConnectionHandle) -> Result<(), RequestRefusal> {
    if handle.is_superseded() {
        return Err(RequestRefusal::Unauthorized(NOT_OWNER));
    }
    Ok(())
}

/// Marks the read as failed when it is dropped, so that an abandoned read is tried again.
struct InboxReadGuard<'a>(&'a ConnectionHandle);

impl Drop for InboxReadGuard<'_> {
    fn drop(&mut self) {
        self.0.read_failed();
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        let inner = &self.inner;
        // The hub first: from here on nothing is queued for the connection. The store's part cannot
        // be awaited in a drop and runs in a task.
        inner.context.hub.remove(&self.handle);
        inner.acks.hurry();
        let (inner, handle) = (Arc::clone(&self.inner), Arc::clone(&self.handle));
        self.inner.context.tracker.spawn(async move {
            inner.routes.release(&handle).await;
            if let Some(room) = handle.enter_room(None) {
                inner.leave_room(room, &handle).await;
            }
        });
    }
}
