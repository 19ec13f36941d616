//! The connect role: what a signed-in connection can do, whatever wire it came by.
//!
//! A [`Gateway`] holds the hub and asks the logic role through [`Logic`]; it knows neither sockets
//! nor databases. Its background work is five tasks: acks are written in batches, heads are
//! compared in batches, the epoch is looked at, the node's lease is renewed, and a pause of the
//! process is noticed.

mod acks;
mod connection;
mod crowd;
mod epochs;
mod expiry;
mod heads;
mod histories;
mod pulse;
mod rooms;
mod routes;
mod starts;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use acks::Acks;
use expiry::Expiry;
use heads::Heads;
use histories::RoomHistories;
use pulse::Pulse;
use rooms::Rooms;
use routes::Routes;
use starts::Starts;

pub use connection::{Connection, SyncPage};

use crate::error::Refusal;
use crate::hub::{CloseReason, Handle, Hub, Identity};
use crate::id::{DeviceId, Epoch, NodeId, RoomId, UserId};
use crate::limits::Limits;
use crate::logic::Logic;
use crate::peer::Peer;
use crate::service::rate::Rate;
use crate::store::{DeviceRoute, RoomSink, RoomStore};

/// Why a sign-in with a right token is refused: it was overtaken.
const AGAIN: &str = "this device has signed in again meanwhile";
const ELSEWHERE: &str = "this device has signed in elsewhere meanwhile";
const REVOKED: &str = "this token was revoked meanwhile";

/// Whether a refused sign-in had a right token and was overtaken by a newer one, or by a
/// revocation: nobody has guessed.
#[must_use]
pub fn was_overtaken(refusal: &Refusal) -> bool {
    let Refusal::Unauthorized(why) = refusal else {
        return false;
    };
    [AGAIN, ELSEWHERE, REVOKED].contains(why)
}

/// Where a device's first page starts when its client names no seq.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncFromZero {
    /// "This device has nothing": everything retained.
    #[default]
    All,
    /// Behind what this device has acked.
    DeviceAck,
    /// Behind what any device of the user has acked: gim's rule.
    UserAck,
}

/// What a client signs in with.
#[derive(Clone, Debug)]
pub struct SignInRequest {
    /// The user.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// Its token.
    pub token: String,
    /// Its address, for `GetDevice`.
    pub client: Option<SocketAddr>,
    /// The version of our extension it speaks; 0 is a client of gim.
    pub protocol: u32,
    /// A client of gim over TCP: it parses one frame per read, loses pushes behind its own sends,
    /// and takes nothing before its first SYNC reply.
    pub fragile: bool,
}

/// The connect role of a node; cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    hub: Arc<Hub>,
    logic: Arc<dyn Logic>,
    room_store: Arc<dyn RoomStore>,
    rooms: Arc<Rooms>,
    histories: Arc<RoomHistories>,
    acks: Acks,
    heads: Heads,
    starts: Starts,
    routes: Routes,
    pulse: Pulse,
    expiry: Expiry,
    reads: Semaphore,
    requests: Rate<UserId>,
    epoch: AtomicU64,
    limits: Arc<Limits>,
    from_zero: SyncFromZero,
    tracker: TaskTracker,
    token: CancellationToken,
}

impl Gateway {
    /// Starts the gateway's tasks on `tracker`; they end, after a last flush, when `token` is
    /// cancelled.
    #[expect(
        clippy::too_many_arguments,
        reason = "the seams of a role, named one by one"
    )]
    #[must_use]
    pub fn start(
        node: NodeId,
        hub: Arc<Hub>,
        logic: Arc<dyn Logic>,
        room_store: Arc<dyn RoomStore>,
        route: Arc<dyn DeviceRoute>,
        peer: Arc<dyn Peer>,
        limits: Limits,
        from_zero: SyncFromZero,
        tracker: &TaskTracker,
        token: &CancellationToken,
    ) -> Self {
        let gateway = Self {
            inner: Arc::new(Inner {
                rooms: Arc::new(Rooms::new(Arc::clone(&hub), tracker.clone())),
                histories: Arc::new(RoomHistories::new(Arc::clone(&room_store), tracker.clone())),
                hub,
                logic,
                room_store,
                acks: Acks::default(),
                heads: Heads::default(),
                starts: Starts::default(),
                routes: Routes::new(node, route, peer, limits.lease),
                pulse: Pulse::new(),
                expiry: Expiry::new(),
                reads: Semaphore::new(limits.parallel_reads),
                requests: Rate::per_second(limits.request_rate, limits.request_burst),
                epoch: AtomicU64::new(0),
                limits: Arc::new(limits),
                from_zero,
                tracker: tracker.clone(),
                token: token.clone(),
            }),
        };
        let (acks, heads, routes) = (gateway.clone(), gateway.clone(), gateway.clone());
        tracker.spawn(async move { acks::run(&acks.inner).await });
        tracker.spawn(async move { heads::run(&heads.inner).await });
        for _ in 0..starts::LANES {
            let starts = gateway.clone();
            tracker.spawn(async move { starts::run(&starts.inner, &starts.inner.tracker).await });
        }
        tracker.spawn(async move { routes::run(&routes.inner).await });
        let epochs = gateway.clone();
        tracker.spawn(async move { epochs::run(&epochs.inner).await });
        let pulse = gateway.clone();
        tracker.spawn(async move { pulse::run(&pulse.inner).await });
        let expiry = gateway.clone();
        tracker.spawn(async move { expiry::run(&expiry.inner).await });
        gateway
    }

    /// The live connections.
    #[must_use]
    pub fn hub(&self) -> &Arc<Hub> {
        &self.inner.hub
    }

    /// The limits it keeps.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Signs a device in: checks the token, raises the device's generation, and makes this
    /// connection the one that is served. When it returns, an older connection of the device is
    /// served nothing more (law 7).
    ///
    /// # Errors
    /// `Unauthorized` for a wrong token, or if the device has signed in again meanwhile;
    /// `Unavailable` and `Unknown` if the logic role could not be asked.
    pub async fn sign_in(&self, request: SignInRequest) -> Result<Connection, Refusal> {
        let inner = &self.inner;
        let SignInRequest {
            user,
            device,
            token,
            client,
            protocol,
            fragile,
        } = request;
        let begin = Instant::now();
        let granted = inner.logic.sign_in(user, device, &token).await?;
        let end = inner.limits.end_expired;
        let expires = inner.expiry.at(granted.token_left.filter(|_| end));
        let conn = inner.hub.next_conn();
        let identity = Identity {
            conn,
            user,
            device,
            generation: granted.generation,
            protocol,
            expires,
            client,
        };
        let handle = Arc::new(Handle::new(
            identity,
            fragile,
            &inner.limits,
            inner.hub.lag_counter(),
        ));
        if !inner.hub.insert(&handle) {
            return Err(Refusal::Unauthorized(AGAIN));
        }
        inner.expiry.note(expires);
        // From here on the connection leaves the hub when this value is dropped.
        let connection = Connection::new(self.clone(), handle, fragile);
        if inner.hub.revoked_since(user, device, begin) {
            return Err(Refusal::Unauthorized(REVOKED));
        }
        if !inner.routes.claim_new(connection.handle()).await {
            return Err(Refusal::Unauthorized(ELSEWHERE));
        }
        self.epoch().await?;
        let head = inner.starts.head(user).await?;
        connection.handle().start(head);
        Ok(connection)
    }

    /// Closes every connection because the node goes away: each gets a time of its own to come
    /// back, up to `spread` from now.
    pub fn close_all(&self, spread: Duration) {
        self.inner.hub.each_open(|handle| {
            let after = spread.mul_f64(rand::random::<f64>());
            handle.close(CloseReason::Shutdown { after });
        });
    }

    /// Compares the cursors of all connections with their inboxes: after a pause of this node's
    /// clock, or a failed call of a peer (law 6).
    pub fn check_all(&self) {
        self.inner
            .hub
            .each(|handle| self.inner.heads.ask(handle.identity().user));
    }

    /// Takes a connection out of a room.
    async fn leave_room(&self, room: RoomId, handle: &Handle) {
        let inner = &self.inner;
        let _gate = inner.rooms.gate(room).await;
        if inner.rooms.leave(room, handle.identity().conn) {
            let sink: Arc<dyn RoomSink> = Arc::clone(&inner.rooms) as _;
            if let Err(error) = inner.room_store.unsubscribe(room, sink).await {
                tracing::debug!(%error, %room, "the room's feed goes on unheard");
            }
        }
    }

    /// The epoch of the inboxes' history, as last heard.
    async fn epoch(&self) -> Result<Epoch, Refusal> {
        let known = self.inner.epoch.load(Ordering::Relaxed);
        if known != 0 {
            return Ok(Epoch(known));
        }
        let epoch = self.inner.logic.epoch().await?;
        self.inner.epoch.store(epoch.0, Ordering::Relaxed);
        Ok(epoch)
    }

    fn known_epoch(&self) -> Epoch {
        Epoch(self.inner.epoch.load(Ordering::Relaxed))
    }
}
