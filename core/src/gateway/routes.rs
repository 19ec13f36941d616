//! The lease of this node and the routes of its connections.
//!
//! Routes are hints: a store that is unavailable never prevents a sign-in. The route is registered
//! once the store is back.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::context::GatewayContext;
use super::heads::HeadComparisons;
use crate::coalesce::{BatchLoader, CoalescerLimits, RequestCoalescer};
use crate::error::ErrorChain;
use crate::hub::{ConnectionHandle, ConnectionIdentity};
use crate::id::{Generation, NodeId};
use crate::peer::PeerNodes;
use crate::store::{ROUTE_CLAIM_INTERVAL, Route, RouteClaimOutcome, RouteStore, StoreError};

/// Routes registered in parallel after a lease has expired.
const ROUTE_CLAIM_CONCURRENCY: usize = 64;
/// Limits of the checks of the lease for sign-ins.
const LEASE_CHECK_LIMITS: CoalescerLimits = CoalescerLimits {
    queue_len: 8_192,
    batch_len: 8_192,
    concurrency: 1,
    call_timeout: Duration::from_secs(5),
    load_timeout: Duration::from_secs(5),
};

/// Outcome of a claim with respect to other connections of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClaimResult {
    /// The store has no older route.
    Alone,
    /// The node with the older connection was notified.
    TookOver,
    /// The device has a newer connection on another node.
    Overtaken,
    /// The store did not answer.
    Unanswered,
}

/// Registers the routes of this node's connections, and notifies the nodes with older ones.
#[derive(Debug)]
pub(super) struct RouteRegistration {
    own: Arc<NodeLease>,
    peer: Arc<dyn PeerNodes>,
    lease: Duration,
    /// Checks of the lease for sign-ins. Those that ask at the same time share one renewal.
    checks: RequestCoalescer<LeaseChecker>,
}

/// The lease of this node.
#[derive(Debug)]
struct NodeLease {
    node: NodeId,
    store: Arc<dyn RouteStore>,
    /// Set after a failed call: all routes are registered again.
    dirty: AtomicBool,
    /// Time at which the last registration of all routes was requested.
    registered: Mutex<Instant>,
    /// Requests a registration of all routes.
    registration: Notify,
    /// Last time at which the store may have lost routes: it did not answer, said that it was new,
    /// or did not hold this node's lease.
    forgotten: Mutex<Option<Instant>>,
}

impl RouteRegistration {
    pub(super) fn new(
        node: NodeId,
        store: Arc<dyn RouteStore>,
        peer: Arc<dyn PeerNodes>,
        lease: Duration,
        tracker: &TaskTracker,
        token: &CancellationToken,
    ) -> Self {
        let own = Arc::new(NodeLease {
            node,
            store,
            dirty: AtomicBool::new(true),
            registered: Mutex::new(Instant::now()),
            registration: Notify::new(),
            forgotten: Mutex::new(None),
        });
        let checker = LeaseChecker(Arc::clone(&own));
        let (tracker, token) = (tracker.clone(), token.clone());
        Self {
            checks: RequestCoalescer::new(checker, LEASE_CHECK_LIMITS, tracker, token),
            own,
            peer,
            lease,
        }
    }

    /// Registers a new connection. If a node that the store does not name may hold an older one,
    /// every node is notified. Returns `false` if the device has a newer connection on another
    /// node.
    pub(super) async fn claim_new(&self, handle: &ConnectionHandle) -> bool {
        let may_be_elsewhere = match self.claim(handle).await {
            ClaimResult::Overtaken => return false,
            ClaimResult::TookOver => false,
            // A generation above 1 means an earlier sign-in, whose route may have been lost.
            ClaimResult::Alone => {
                handle.identity().generation > Generation(1) && self.forgot().await
            }
            ClaimResult::Unanswered => true,
        };
        if may_be_elsewhere {
            let ConnectionIdentity {
                user,
                device,
                generation,
                ..
            } = *handle.identity();
            let others = self.peer.nodes().await;
            let others = others.iter().filter(|node| **node != self.own.node);
            let notifications =
                others.map(|node| self.peer.supersede(node, user, device, generation));
            join_all(notifications).await;
        }
        true
    }

    /// Registers the connection, and notifies the node with the older one.
    async fn claim(&self, handle: &ConnectionHandle) -> ClaimResult {
        let identity = handle.identity();
        let route = Route {
            device: identity.device,
            user: identity.user,
            generation: identity.generation,
            node: self.own.node.clone(),
            client: identity.client,
        };
        match self.own.store.claim(&route).await {
            Ok(RouteClaimOutcome::Claimed(None)) => ClaimResult::Alone,
            Ok(RouteClaimOutcome::Claimed(Some(old))) => {
                if old.node != self.own.node {
                    self.peer
                        .supersede(&old.node, old.user, old.device, identity.generation)
                        .await;
                }
                ClaimResult::TookOver
            }
            Ok(RouteClaimOutcome::Superseded(_)) => ClaimResult::Overtaken,
            Err(error) => {
                crate::warn_rated!(error = %ErrorChain(&error), "route not registered yet, retrying");
                self.request_registration();
                ClaimResult::Unanswered
            }
        }
    }

    /// Returns whether the store may have lost routes recently. To find out, renews this node's
    /// lease, once for all callers that ask at the same time.
    async fn forgot(&self) -> bool {
        if self.peer.is_alone() {
            return false;
        }
        if self.checks.call(()).await.is_err() {
            // Not checked, so nothing is known about the routes.
            return true;
        }
        let forgotten = *lock(&self.own.forgotten);
        forgotten.is_some_and(|at| at.elapsed() < self.lease)
    }

    /// Requests that all routes are registered again with the next renewal.
    pub(super) fn request_registration(&self) {
        self.own.request_registration();
    }

    /// Releases the connection's route, unless a newer connection has replaced it.
    pub(super) async fn release(&self, handle: &ConnectionHandle) {
        let identity = handle.identity();
        if let Err(error) = self
            .own
            .store
            .release(identity.user, identity.device, identity.generation)
            .await
        {
            tracing::debug!(%error, "route not released; it expires with the lease");
        }
    }
}

impl NodeLease {
    /// Renews the lease; returns whether it was still held. A missing lease may mean that the store
    /// has lost all its data. The routes of other nodes are then missing until those nodes have
    /// renewed their leases.
    async fn renew(&self) -> Result<bool, StoreError> {
        let renewed = self.store.renew(&self.node).await;
        let is_complete = matches!(&renewed, Ok(it) if it.held && !it.forgot);
        if !is_complete {
            *lock(&self.forgotten) = Some(Instant::now());
        }
        renewed.map(|it| it.held)
    }

    /// Takes the first lease of this run. It is expected to be missing, so only a store that is new
    /// or does not answer may have lost routes.
    async fn take_first_lease(&self) {
        let taken = self.store.renew(&self.node).await;
        if !matches!(&taken, Ok(it) if !it.forgot) {
            *lock(&self.forgotten) = Some(Instant::now());
        }
        if let Err(error) = taken {
            tracing::debug!(error = %ErrorChain(&error), "first lease not taken, retrying");
        }
    }

    /// Requests that all routes are registered again with the next renewal.
    fn request_registration(&self) {
        self.dirty.store(true, Ordering::Relaxed);
    }

    /// Returns whether all routes must be registered now: after a lost lease, after a failed call,
    /// and once in [`ROUTE_CLAIM_INTERVAL`], because a store drops routes that are not claimed
    /// again.
    fn is_registration_due(&self, held: bool) -> bool {
        let mut registered = lock(&self.registered);
        let is_old = registered.elapsed() >= ROUTE_CLAIM_INTERVAL;
        let is_due = self.dirty.swap(false, Ordering::Relaxed) || !held || is_old;
        if is_due {
            *registered = Instant::now();
        }
        is_due
    }
}

/// Renews the lease once for a batch of sign-ins.
#[derive(Debug)]
struct LeaseChecker(Arc<NodeLease>);

impl BatchLoader for LeaseChecker {
    type Key = ();
    type Value = ();
    type Error = Infallible;

    async fn load(&self, sign_ins: &[()]) -> Result<Vec<()>, Infallible> {
        if !matches!(self.0.renew().await, Ok(true)) {
            self.0.request_registration();
        }
        Ok(vec![(); sign_ins.len()])
    }
}

/// Keeps the lease and the routes until the stop, then ends the lease.
///
/// Renewals and registrations run side by side: a registration of many connections at a slow store
/// takes longer than a lease.
pub(super) async fn run(
    routes: &RouteRegistration,
    heads: &HeadComparisons,
    context: &GatewayContext,
) {
    routes.own.take_first_lease().await;
    tokio::join!(
        renew_lease(routes, context),
        register_routes(routes, heads, context)
    );
    if let Err(error) = routes.own.store.retire(&routes.own.node).await {
        tracing::debug!(%error, "lease not ended; it expires by itself");
    }
}

/// Renews the lease three times per lease period, and requests the registrations that are due. Each
/// follows a renewal, because the routes of a node without a lease are not valid.
async fn renew_lease(routes: &RouteRegistration, context: &GatewayContext) {
    let mut period = tokio::time::interval(context.limits.lease / 3);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = context.token.cancelled() => break,
            _ = period.tick() => {}
        }
        match routes.own.renew().await {
            Ok(held) => {
                if routes.own.is_registration_due(held) {
                    routes.own.registration.notify_one();
                }
            }
            Err(error) => {
                crate::warn_rated!(error = %ErrorChain(&error), "lease not renewed, retrying");
                routes.own.dirty.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Registers all routes whenever that was requested. A request during a registration is kept and
/// starts the next one. A stop breaks a registration off: the routes end with the lease.
async fn register_routes(
    routes: &RouteRegistration,
    heads: &HeadComparisons,
    context: &GatewayContext,
) {
    let registering = async {
        loop {
            routes.own.registration.notified().await;
            register_all(routes, heads, context).await;
        }
    };
    context.token.run_until_cancelled(registering).await;
}

/// Renews the lease and registers every connection again after this process was paused.
pub(super) async fn refresh(
    routes: &RouteRegistration,
    heads: &HeadComparisons,
    context: &GatewayContext,
) {
    if let Err(error) = routes.own.renew().await {
        crate::warn_rated!(error = %ErrorChain(&error), "lease not renewed after a pause, retrying");
        routes.request_registration();
    }
    register_all(routes, heads, context).await;
}

/// Registers every connection, and requests a comparison of every head, because pushes may have
/// been lost meanwhile.
async fn register_all(
    routes: &RouteRegistration,
    heads: &HeadComparisons,
    context: &GatewayContext,
) {
    let mut handles = Vec::new();
    context.hub.each(|handle| handles.push(Arc::clone(handle)));
    let claims =
        stream::iter(handles).for_each_concurrent(ROUTE_CLAIM_CONCURRENCY, |handle| async move {
            if routes.claim(&handle).await == ClaimResult::Overtaken {
                let identity = handle.identity();
                handle.supersede();
                tracing::debug!(device = %identity.device, "connection superseded elsewhere");
            }
            heads.ask(handle.identity().user);
        });
    claims.await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::delivery::DeliveryBatch;
    use crate::id::{ConnId, DeviceId, UserId};
    use crate::memory::MemoryRoute;
    use crate::store::ROUTE_LIFETIME;

    /// One other node, which records the generations it is notified of.
    #[derive(Debug, Default)]
    struct RecordingOtherNode(Mutex<Vec<u64>>);

    #[async_trait]
    impl PeerNodes for RecordingOtherNode {
        async fn nodes(&self) -> Vec<NodeId> {
            vec![NodeId::boot("other")]
        }

        async fn deliver(&self, _: &NodeId, _: Vec<DeliveryBatch>) -> bool {
            false
        }

        async fn supersede(&self, _: &NodeId, _: UserId, _: DeviceId, generation: Generation) {
            lock(&self.0).push(generation.0);
        }

        async fn disconnect(&self, _: &NodeId, _: UserId, _: Option<DeviceId>, _: &str) -> bool {
            true
        }
    }

    fn handle(generation: u64) -> ConnectionHandle {
        let identity = ConnectionIdentity {
            conn: ConnId::new(1).unwrap(),
            user: UserId::new(1).unwrap(),
            device: DeviceId::new(7).unwrap(),
            generation: Generation(generation),
            protocol: 1,
            expires: 0,
            client: None,
        };
        ConnectionHandle::new(identity, false, &Arc::default(), &Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn routes_are_registered_again_long_before_a_store_drops_them() {
        assert!(ROUTE_CLAIM_INTERVAL * 10 < ROUTE_LIFETIME);
        let routes = RouteRegistration::new(
            NodeId::boot("here"),
            Arc::new(MemoryRoute::default()),
            Arc::new(RecordingOtherNode::default()),
            Duration::from_secs(15),
            &TaskTracker::new(),
            &CancellationToken::new(),
        );
        assert!(routes.own.is_registration_due(true), "the first one");
        assert!(!routes.own.is_registration_due(true));
        assert!(routes.own.is_registration_due(false), "the lease was lost");
        tokio::time::advance(ROUTE_CLAIM_INTERVAL * 9 / 10).await;
        assert!(!routes.own.is_registration_due(true));
        tokio::time::advance(ROUTE_CLAIM_INTERVAL / 10).await;
        assert!(routes.own.is_registration_due(true));
        assert!(!routes.own.is_registration_due(true));
        routes.request_registration();
        assert!(routes.own.is_registration_due(true), "a claim had failed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_takeover_notifies_every_node_after_the_store_lost_its_data() {
        let (store, other) = (
            Arc::new(MemoryRoute::default()),
            Arc::new(RecordingOtherNode::default()),
        );
        let (here, lease) = (NodeId::boot("here"), Duration::from_secs(15));
        let routes = RouteRegistration::new(
            here.clone(),
            Arc::clone(&store) as _,
            Arc::clone(&other) as _,
            lease,
            &TaskTracker::new(),
            &CancellationToken::new(),
        );
        let notified = || std::mem::take(&mut *lock(&other.0));
        // The table is older than one lease.
        tokio::time::advance(lease).await;
        assert!(!store.renew(&here).await.unwrap().held);
        let sign_in = async |generation| {
            let handle = handle(generation);
            assert!(routes.claim_new(&handle).await);
            routes.release(&handle).await;
        };
        for generation in [1, 2] {
            sign_in(generation).await;
            assert!(notified().is_empty(), "the store lost nothing");
        }
        // The route of the other node is lost together with this node's lease.
        store.retire(&here).await.unwrap();
        sign_in(1).await;
        assert!(
            notified().is_empty(),
            "a first sign-in displaces no connection"
        );
        sign_in(3).await;
        assert_eq!(notified(), [3]);
        // This node's lease is back, but the other node may not have renewed its own yet.
        sign_in(4).await;
        assert_eq!(notified(), [4]);
        for _ in 0..4 {
            tokio::time::advance(lease / 3).await;
            assert!(store.renew(&here).await.unwrap().held);
        }
        sign_in(5).await;
        assert!(notified().is_empty());
    }

    /// D11: the routes were lost, and a node that has just started takes a device over.
    #[tokio::test(start_paused = true)]
    async fn d11_a_new_node_notifies_every_node_while_the_store_is_new() {
        let (store, other) = (
            Arc::new(MemoryRoute::default()),
            Arc::new(RecordingOtherNode::default()),
        );
        let lease = MemoryRoute::LEASE;
        // It holds its own lease, because it was the first to renew after the loss.
        let fresh = || {
            RouteRegistration::new(
                NodeId::boot("fresh"),
                Arc::clone(&store) as _,
                Arc::clone(&other) as _,
                lease,
                &TaskTracker::new(),
                &CancellationToken::new(),
            )
        };
        let taken_over = async || {
            let routes = fresh();
            routes.own.take_first_lease().await;
            let handle = handle(7);
            assert!(routes.claim_new(&handle).await);
            routes.release(&handle).await;
            std::mem::take(&mut *lock(&other.0))
        };
        assert_eq!(taken_over().await, [7]);
        tokio::time::advance(lease * 2).await;
        assert!(
            taken_over().await.is_empty(),
            "every node has registered since"
        );
    }
}
