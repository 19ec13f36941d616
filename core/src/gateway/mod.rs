//! The connect role: the operations of a signed-in connection, independent of its wire.
//!
//! A [`ConnectGateway`] holds the hub and calls the logic role through [`LogicRole`]; it knows
//! neither sockets nor databases. Its background tasks write acks in batches, compare heads in
//! batches, read the heads of new connections, check the epoch, renew the node's lease, detect
//! pauses of the process, and close connections whose token has expired.

mod acks;
mod connection;
mod context;
mod displaced;
mod epochs;
mod expiry;
mod heads;
mod histories;
mod inner;
mod limited_sign_in;
mod on_device;
mod pause_detector;
mod room_fanout;
mod rooms;
mod routes;
mod sign_in_heads;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use acks::PendingAcks;
use context::GatewayContext;
use displaced::{SIGNED_IN_AGAIN, SIGNED_IN_ELSEWHERE, TOKEN_REVOKED};
use expiry::TokenExpiry;
use heads::HeadComparisons;
use histories::RoomHistories;
use inner::GatewayInner;
use pause_detector::PauseDetector;
use rooms::RoomSubscriptions;
use routes::RouteRegistration;
use sign_in_heads::SignInHeads;

pub use connection::{ClientConnection, SyncPage};
pub use displaced::was_displaced;
pub use inner::SyncFromZero;

use crate::error::RequestRefusal;
use crate::hub::{CloseReason, ConnectionHandle, ConnectionHub, ConnectionIdentity};
use crate::id::{DeviceId, NodeId, UserId};
use crate::limits::Limits;
use crate::logic::LogicRole;
use crate::peer::PeerNodes;
use crate::rate::RateLimiter;
use crate::seq::Seq;
use crate::store::{RoomStore, RouteStore};

/// Credentials and properties of a client that signs in.
#[derive(Clone, Debug)]
pub struct SignInRequest {
    /// The user.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// Sign-in token of the user on the device.
    pub token: String,
    /// The client's address, for `GetDevice`.
    pub client: Option<SocketAddr>,
    /// Version of gimlet's protocol extension; 0 for a client of gim.
    pub protocol: u32,
    /// Set for a legacy client, one of gim over TCP: it parses one frame per read, loses pushes
    /// that follow its own sends, and accepts nothing before its first SYNC reply.
    pub legacy: bool,
    /// Set for a client that learns of its device's sends by no answer on this connection: they are
    /// delivered to it like any other message.
    pub echo: bool,
    /// The seq after which the client continues, if it names one with its sign-in; otherwise 0. A seq
    /// above the inbox's head is refused before an older connection ends.
    pub resume_after: Seq,
}

/// The connect role of a node; cheap to clone.
#[derive(Clone, Debug)]
pub struct ConnectGateway {
    inner: Arc<GatewayInner>,
}

impl ConnectGateway {
    /// Starts the gateway's tasks on `tracker`. They end when `token` is cancelled, after a last
    /// flush.
    #[expect(
        clippy::too_many_arguments,
        reason = "one argument for each seam of the connect role"
    )]
    #[must_use]
    pub fn start(
        node: NodeId,
        hub: Arc<ConnectionHub>,
        logic: Arc<dyn LogicRole>,
        room_store: Arc<dyn RoomStore>,
        route: Arc<dyn RouteStore>,
        peer: Arc<dyn PeerNodes>,
        limits: Limits,
        from_zero: SyncFromZero,
        tracker: &TaskTracker,
        token: &CancellationToken,
    ) -> Self {
        let limits = Arc::new(limits);
        let inner = Arc::new(GatewayInner {
            rooms: Arc::new(RoomSubscriptions::new(Arc::clone(&hub), tracker.clone())),
            histories: Arc::new(RoomHistories::new(Arc::clone(&room_store), tracker.clone())),
            room_store,
            acks: PendingAcks::default(),
            heads: HeadComparisons::default(),
            sign_in_heads: SignInHeads::new(Arc::clone(&logic), tracker, token),
            routes: RouteRegistration::new(node, route, peer, limits.lease, tracker, token),
            pause_detector: PauseDetector::new(),
            expiry: TokenExpiry::new(),
            reads: Semaphore::new(limits.parallel_reads),
            requests: RateLimiter::per_second(limits.request_rate, limits.request_burst),
            from_zero,
            context: GatewayContext {
                hub,
                logic,
                limits,
                epoch: AtomicU64::new(0),
                tracker: tracker.clone(),
                token: token.clone(),
            },
        });
        let gateway = Arc::clone(&inner);
        tracker.spawn(async move { acks::run(&gateway.acks, &gateway.context).await });
        let gateway = Arc::clone(&inner);
        tracker.spawn(async move { heads::run(&gateway.heads, &gateway.context).await });
        let gateway = Arc::clone(&inner);
        tracker.spawn(async move {
            routes::run(&gateway.routes, &gateway.heads, &gateway.context).await;
        });
        let gateway = Arc::clone(&inner);
        tracker.spawn(async move { epochs::run(&gateway.context).await });
        let gateway = Arc::clone(&inner);
        tracker.spawn(async move {
            pause_detector::run(
                &gateway.pause_detector,
                &gateway.routes,
                &gateway.heads,
                &gateway.context,
            )
            .await;
        });
        let gateway = Arc::clone(&inner);
        tracker.spawn(async move { expiry::run(&gateway.expiry, &gateway.context).await });
        Self { inner }
    }

    /// Returns the hub of live connections.
    #[must_use]
    pub fn hub(&self) -> &Arc<ConnectionHub> {
        &self.inner.context.hub
    }

    /// Returns the limits of this gateway.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.context.limits
    }

    /// Signs a device in: checks the token, raises the device's generation, and makes this
    /// connection the owner of the device. Once it returns, an older connection of the device is
    /// served nothing more (law 7).
    ///
    /// # Errors
    /// `Unauthorized` for a wrong token, or if a newer sign-in or a revocation overtook this one;
    /// `Unavailable` and `Unknown` if the logic role did not answer.
    pub async fn sign_in(
        &self,
        request: SignInRequest,
    ) -> Result<ClientConnection, RequestRefusal> {
        let inner = &self.inner;
        let SignInRequest {
            user,
            device,
            token,
            client,
            protocol,
            legacy: is_legacy,
            echo,
            resume_after,
        } = request;
        // The order of these steps matters:
        // - `begin` is read before the token is checked, so a revocation in between is found by
        //   `revoked_since`.
        // - The connection enters the hub before its route is claimed, so a push that follows the
        //   route finds it.
        // - The inbox head is read last, when pushes reach the connection: entries up to the head
        //   are read, entries above it are pushed, and none is missed.
        let begin = Instant::now();
        let logic = &inner.context.logic;
        let granted = logic.sign_in(user, device, &token, resume_after).await?;
        let end = inner.context.limits.end_expired;
        let expires = inner.expiry.at(granted.token_left.filter(|_| end));
        let conn = inner.context.hub.next_conn();
        let identity = ConnectionIdentity {
            conn,
            user,
            device,
            generation: granted.generation,
            protocol,
            expires,
            client,
        };
        let limits = &inner.context.limits;
        let lags = inner.context.hub.lag_counter();
        let handle = ConnectionHandle::new(identity, is_legacy, limits, lags);
        let handle = Arc::new(handle.echoing(echo));
        if !inner.context.hub.insert(&handle) {
            return Err(RequestRefusal::Unauthorized(SIGNED_IN_AGAIN));
        }
        // After `insert`: the expiry task looks at the connections in the hub.
        inner.expiry.note(expires);
        // From here on, dropping this value removes the connection from the hub.
        let connection = ClientConnection::new(Arc::clone(inner), handle, is_legacy);
        if inner.context.hub.revoked_since(user, device, begin) {
            return Err(RequestRefusal::Unauthorized(TOKEN_REVOKED));
        }
        if !inner.routes.claim_new(connection.handle()).await {
            return Err(RequestRefusal::Unauthorized(SIGNED_IN_ELSEWHERE));
        }
        inner.context.epoch().await?;
        let head = inner.sign_in_heads.head(user).await?;
        connection.handle().start(head);
        Ok(connection)
    }

    /// Refuses a user that has no rate left for this many requests; takes none of it. An entry point
    /// asks before a sign-in whose first requests would be refused after they have ended an older
    /// connection.
    ///
    /// # Errors
    /// [`RequestRefusal::RateLimited`] if the rate is used up.
    pub fn check_rate(&self, user: UserId, requests: u32) -> Result<(), RequestRefusal> {
        let spare = self.inner.requests.spare(&user, requests);
        spare.map_err(|retry_after| RequestRefusal::RateLimited { retry_after })
    }

    /// Closes every connection because the node is shutting down. Each client gets its own random
    /// time to reconnect, up to `spread` from now.
    pub fn close_all(&self, spread: Duration) {
        self.inner.context.hub.each_open(|handle| {
            let after = spread.mul_f64(rand::random::<f64>());
            handle.close(CloseReason::Shutdown { after });
        });
    }

    /// Compares the cursors of all connections with their inboxes, after a pause of this node or a
    /// failed call of a peer (law 6).
    pub fn check_all(&self) {
        self.inner
            .context
            .hub
            .each(|handle| self.inner.heads.ask(handle.identity().user));
    }
}
