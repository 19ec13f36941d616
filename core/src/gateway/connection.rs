//! One signed-in connection: what its wire may ask for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::{Gateway, SyncFromZero};
use crate::envelope::Envelope;
use crate::error::Refusal;
use crate::hub::{CloseReason, Handle, Identity, Work};
use crate::id::{Epoch, RoomId};
use crate::message::{Draft, Sender};
use crate::page::PageLimit;
use crate::sending::Sending;
use crate::seq::Seq;
use crate::store::{Head, RoomSink};

/// How soon a connection of a node that stood still is looked at again.
const NOT_FRESH: Duration = Duration::from_millis(200);

/// How long a SYNC waits for its turn to read.
const READ_TURN: Duration = Duration::from_millis(1_500);

/// Pages that one SYNC of a legacy client looks through for something that it did not send itself.
const MAX_OWN_PAGES: usize = 4;

/// A page for SYNC, before the wire has cut it to its frame.
#[derive(Debug)]
pub struct SyncPage {
    /// The entries, ascending.
    pub items: Vec<(Seq, Arc<Envelope>)>,
    /// Where the page begins: the items are above it.
    pub from: Seq,
    /// Whether the inbox goes on behind the last item.
    pub more: bool,
    /// Where the page is up to if all of it is sent: the last item, or where there was nothing.
    pub upto: Seq,
    /// The epoch of the inboxes' history.
    pub epoch: Epoch,
    /// Where the inbox stands.
    pub head: Head,
}

/// A signed-in connection. Dropping it ends it: the hub, its room and its route forget it, its
/// acks are written.
#[derive(Debug)]
pub struct Connection {
    gateway: Gateway,
    handle: Arc<Handle>,
    /// Between what this device has acked and here are only its own sends.
    own_upto: AtomicU64,
    fragile: bool,
}

impl Connection {
    pub(super) const fn new(gateway: Gateway, handle: Arc<Handle>, fragile: bool) -> Self {
        Self {
            gateway,
            handle,
            own_upto: AtomicU64::new(0),
            fragile,
        }
    }

    /// Who it belongs to.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        self.handle.identity()
    }

    /// The connection as the hub sees it.
    #[must_use]
    pub const fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// The epoch, and the largest entry this connection has heard of.
    #[must_use]
    pub fn head(&self) -> (Epoch, Seq) {
        (self.gateway.known_epoch(), self.handle.head())
    }

    /// A sign of life: its inbox is compared with its cursor soon. Returns what
    /// [`head`](Self::head) does.
    ///
    /// # Errors
    /// The user sends more requests than it may.
    pub fn heartbeat(&self) -> Result<(Epoch, Seq), Refusal> {
        self.take_rate()?;
        self.gateway.inner.heads.ask(self.identity().user);
        Ok(self.head())
    }

    /// Reads the page that answers a SYNC from `asked`. Once the wire knows how much of it fits, it
    /// calls [`synced`](Self::synced).
    pub async fn sync(&self, asked: Seq) -> Result<SyncPage, Refusal> {
        self.take_rate()?;
        self.check_owner().await?;
        let inner = &self.gateway.inner;
        if let Some(head) = self.up_to_date(asked) {
            // Pushes may not reach it yet, such as while routes are not known: looked at again soon.
            inner.heads.ask(self.identity().user);
            return Ok(SyncPage {
                items: Vec::new(),
                from: asked,
                more: false,
                upto: asked,
                epoch: self.gateway.epoch().await?,
                head,
            });
        }
        let user = self.identity().user;
        let mut from = self.sync_start(asked).await?;
        if from < asked {
            // Known to hold nothing but own sends: an ack below it only goes forward.
            let own = Seq::new(self.own_upto.load(Ordering::Relaxed));
            from = from.max(own.min(asked));
        }
        let limit = PageLimit {
            items: inner.limits.page_items,
            bytes: inner.limits.page_bytes,
        };
        let turn = tokio::time::timeout(READ_TURN, inner.reads.acquire()).await;
        let _turn = turn.map_err(|_| Refusal::Unavailable)?;
        let mut page = inner.logic.page(user, from, limit).await?;
        let mut upto = page.upto(from);
        if from < asked && asked <= page.head.head {
            // fim counts its own sends as received, so it names a seq above pushes it has missed.
            // Another user's sends under this device's id are not its own.
            let identity = self.identity();
            let wanted =
                |seq: Seq, envelope: &Envelope| seq > asked || !identity.sent(&envelope.message);
            page.items.retain(|(seq, envelope)| wanted(*seq, envelope));
            let mut pages = 1;
            while page.items.is_empty() && page.more && pages < MAX_OWN_PAGES {
                pages += 1;
                page = inner.logic.page(user, upto, limit).await?;
                upto = page.upto(upto);
                page.items.retain(|(seq, envelope)| wanted(*seq, envelope));
            }
            if page.items.is_empty() {
                let own = upto.min(asked).get();
                self.own_upto.fetch_max(own, Ordering::Relaxed);
            }
            // With `more` the client asks again, or its inbox is read on for it: from `upto`.
            if !page.more {
                upto = upto.max(asked);
            }
        }
        let upto = upto.min(page.head.head);
        let epoch = self.gateway.epoch().await?;
        Ok(SyncPage {
            items: page.items,
            from,
            more: page.more,
            upto,
            epoch,
            head: page.head,
        })
    }

    /// A SYNC was answered with everything above `from` up to `upto`, and whether there is more. If
    /// not, the connection is live from now on.
    pub fn synced(&self, from: Seq, upto: Seq, more: bool) {
        self.handle.synced(from.min(upto), upto, more);
    }

    /// Acks an entry; a number that is none of an entry served here changes nothing (law 9).
    pub fn ack(&self, upto: Seq) {
        if self.handle.may_ack(upto) {
            let identity = self.identity();
            self.gateway
                .inner
                .acks
                .note(identity.user, identity.device, upto);
        }
    }

    /// Sends on the user's behalf. Sends are stored in the order in which this is called.
    pub fn send(&self, draft: Draft) -> Sending {
        let Identity { user, device, .. } = *self.identity();
        let sender = Sender::User {
            user,
            device: Some(device),
        };
        let inner = &self.gateway.inner;
        if !inner.pulse.is_fresh(Instant::now()) {
            let (gateway, handle) = (self.gateway.clone(), Arc::clone(&self.handle));
            return Sending::later(async move {
                gateway.inner.pulse.fresh().await;
                owns(&handle)?;
                gateway.inner.logic.send(sender, draft).await
            });
        }
        match owns(&self.handle) {
            Ok(()) => inner.logic.send(sender, draft),
            Err(refusal) => Sending::done(Err(refusal)),
        }
    }

    /// Moves the subscription to another room, or ends it. From `from` on (inclusive) the kept
    /// history follows through [`Work::Read`], then what is published; `Seq::ZERO` is live only.
    pub async fn subscribe(&self, room: Option<RoomId>, from: Seq) -> Result<(), Refusal> {
        self.take_rate()?;
        self.check_owner().await?;
        let inner = &self.gateway.inner;
        let left = self.handle.enter_room(room.map(|room| (room, from)));
        if let Some(left) = left.filter(|left| Some(*left) != room) {
            self.gateway.leave_room(left, &self.handle).await;
        }
        let Some(room) = room else { return Ok(()) };
        let _gate = inner.rooms.gate(room).await;
        if inner.rooms.enter(room, &self.handle) {
            let sink: Arc<dyn RoomSink> = Arc::clone(&inner.rooms) as _;
            if let Err(error) = inner.room_store.subscribe(room, sink).await {
                inner.rooms.leave(room, self.identity().conn);
                self.handle.enter_room(None);
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// What the connection's task is to do next; registers it to be woken.
    pub fn poll_work(&self, cx: &Context<'_>, now: Instant) -> Poll<Work> {
        if self.poll_fresh(cx, now).is_ready() {
            self.handle.poll_work(cx, now)
        } else {
            self.handle.poll_close(cx).map(Work::Close)
        }
    }

    /// Ready while what this node believes of the connection is recent enough to serve it: also
    /// what was taken from the hub before a pause is not written before the routes were compared.
    /// Registers the task to be woken.
    pub fn poll_fresh(&self, cx: &Context<'_>, now: Instant) -> Poll<()> {
        let pulse = &self.gateway.inner.pulse;
        if pulse.is_fresh(now) {
            return Poll::Ready(());
        }
        // The end of the pause wakes it. It may have come before it was waited for.
        let _ = self.handle.poll_close(cx);
        if pulse.is_fresh(Instant::now()) {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Waits for the end alone, while nothing can be written to the client; registers the task to
    /// be woken.
    pub fn poll_close(&self, cx: &Context<'_>) -> Poll<CloseReason> {
        self.handle.poll_close(cx)
    }

    /// When [`poll_work`](Self::poll_work) has something to do although nothing wakes the task.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let now = Instant::now();
        if self.gateway.inner.pulse.is_fresh(now) {
            self.handle.next_deadline()
        } else {
            // Looked at again soon: the end of the pause may have come before it was waited for.
            Some(now + NOT_FRESH)
        }
    }

    /// Reads a page of the inbox and requests one of the room's history, as far as they are wanted:
    /// the answer to [`Work::Read`]. The history comes later and holds up nothing.
    ///
    /// # Errors
    /// The store could not be read; calling it again later goes on.
    pub async fn read(&self) -> Result<(), Refusal> {
        let read = self.read_inbox().await;
        self.gateway.inner.histories.request(&self.handle);
        read
    }

    async fn read_inbox(&self) -> Result<(), Refusal> {
        let inner = &self.gateway.inner;
        inner.pulse.fresh().await;
        let _turn = inner.reads.acquire().await;
        let Some(after) = self.handle.begin_read() else {
            return Ok(());
        };
        let limit = PageLimit {
            items: inner.limits.page_items,
            bytes: inner.limits.page_bytes,
        };
        let _reading = Reading(&self.handle);
        let page = inner.logic.page(self.identity().user, after, limit).await?;
        if !self.handle.fill(page.items, page.more, page.head.head) {
            crate::error_rated!(user = %self.identity().user, "the inbox is shorter than it was");
            // Compared with what was served: that ends the history (law 10).
            inner.heads.ask(self.identity().user);
        }
        Ok(())
    }

    /// Where the inbox stands, if nothing is to be read for a SYNC from `asked`. After a restart that
    /// is what most connections ask.
    fn up_to_date(&self, asked: Seq) -> Option<Head> {
        // An old client has perhaps not received what it counts as its own.
        let all = !self.fragile || asked == Seq::ZERO;
        all.then(|| self.handle.up_to_date(asked)).flatten()
    }

    /// Where the page for a SYNC from `asked` really starts.
    async fn sync_start(&self, asked: Seq) -> Result<Seq, Refusal> {
        let inner = &self.gateway.inner;
        let by_ack = asked == Seq::ZERO && inner.from_zero != SyncFromZero::All;
        if !by_ack && (!self.fragile || asked == Seq::ZERO) {
            return Ok(asked);
        }
        let Identity { user, device, .. } = *self.identity();
        let by_user = by_ack && inner.from_zero == SyncFromZero::UserAck;
        // Marks that are not stored yet are read before the stored ones: see `acks`.
        let noted = if by_user {
            let handles = inner.hub.of(user);
            let devices = handles.iter().map(|handle| handle.identity().device);
            devices.map(|device| inner.acks.noted(user, device)).max()
        } else {
            Some(inner.acks.noted(user, device))
        };
        let marks = inner.logic.acked(user).await?;
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

    /// Counts a request that costs more than the packet it came in: a read of the store, a
    /// subscription, a comparison of heads.
    fn take_rate(&self) -> Result<(), Refusal> {
        let taken = self.gateway.inner.requests.take(self.identity().user);
        taken.map_err(|retry_after| Refusal::RateLimited { retry_after })
    }

    async fn check_owner(&self) -> Result<(), Refusal> {
        self.gateway.inner.pulse.fresh().await;
        owns(&self.handle)
    }
}

/// Whether the connection still owns its device.
fn owns(handle: &Handle) -> Result<(), Refusal> {
    if handle.is_superseded() {
        return Err(Refusal::Unauthorized(
            "this connection does not own its device any more",
        ));
    }
    Ok(())
}

/// A read that is abandoned half-way is tried again.
struct Reading<'a>(&'a Handle);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.read_failed();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let inner = &self.gateway.inner;
        inner.hub.remove(&self.handle);
        inner.acks.hurry();
        let (gateway, handle) = (self.gateway.clone(), Arc::clone(&self.handle));
        inner.tracker.spawn(async move {
            gateway.inner.routes.release(&handle).await;
            if let Some(room) = handle.enter_room(None) {
                gateway.leave_room(room, &handle).await;
            }
        });
    }
}
