//! `PeerNodes` over the other connect nodes: those that hold a lease.
//!
//! Pushes are hints (law 6): they are handed on at once, or dropped and counted, and a node that
//! missed some compares its heads when it is reachable again. A takeover is not a hint: it is
//! repeated until the node acknowledges it, and until then the node gets no pushes.

mod link;
mod pending_takeovers;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use gimlet_core::delivery::DeliveryBatch;
use gimlet_core::id::{DeviceId, Generation, NodeId, UserId};
use gimlet_core::peer::PeerNodes;
use gimlet_core::store::RouteStore;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::call::NodeCredentials;
use link::ConnectLink;
use pending_takeovers::PendingTakeovers;

/// Interval at which the list of nodes is read.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// The interval after a node's start, when others often start with it, and how long it applies.
const START_REFRESH: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));
/// Time limit for reading the list.
const READ_TIMEOUT: Duration = Duration::from_millis(800);
/// A node that is no longer listed still counts for this long, because the list may have been lost.
const UNLISTED_GRACE: Duration = Duration::from_secs(15);

/// Interval at which pending takeovers are sent again.
const TAKEOVER_RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// `PeerNodes` over gRPC. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RemotePeer {
    inner: Arc<PeerState>,
}

#[derive(Debug)]
struct PeerState {
    here: NodeId,
    caller: NodeCredentials,
    route: Arc<dyn RouteStore>,
    nodes: Mutex<HashMap<NodeId, Instant>>,
    links: Mutex<HashMap<NodeId, Arc<ConnectLink>>>,
    pending_takeovers: Mutex<PendingTakeovers>,
    dropped: AtomicU64,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl RemotePeer {
    /// Follows the list of nodes, and keeps a stream to each node that got pushes, until `stop`.
    #[must_use]
    pub fn start(
        here: NodeId,
        route: Arc<dyn RouteStore>,
        caller: NodeCredentials,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let inner = Arc::new(PeerState {
            here,
            caller,
            route,
            nodes: Mutex::default(),
            links: Mutex::default(),
            pending_takeovers: Mutex::default(),
            dropped: AtomicU64::new(0),
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        let following = Arc::clone(&inner);
        tasks.spawn(async move {
            tokio::select! {
                () = following.stop.cancelled() => {}
                () = following.follow() => {}
                () = following.repay() => {}
            }
        });
        Self { inner }
    }

    /// Returns the number of connect nodes that are known now, without this one.
    #[must_use]
    pub fn known(&self) -> usize {
        lock(&self.inner.nodes).len()
    }

    /// Returns the number of delivery batches dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.inner.dropped.load(Ordering::Relaxed)
    }
}

impl PeerState {
    async fn follow(&self) {
        let started = Instant::now();
        loop {
            match timeout(READ_TIMEOUT, self.route.nodes()).await {
                Ok(Ok(nodes)) => self.listed(nodes),
                Ok(Err(error)) => tracing::debug!(%error, "the list of nodes was not read"),
                Err(_) => tracing::debug!("the list of nodes was not read in time"),
            }
            let (often, young) = START_REFRESH;
            let new = started.elapsed() < young;
            sleep(if new { often } else { REFRESH_INTERVAL }).await;
        }
    }

    /// Sends pending takeovers again, to the nodes that are listed.
    async fn repay(&self) {
        loop {
            sleep(TAKEOVER_RETRY_INTERVAL).await;
            let nodes = lock(&self.pending_takeovers).nodes();
            let listed = lock(&self.nodes).clone();
            let nodes = nodes.iter().filter(|node| listed.contains_key(node));
            join_all(nodes.map(|node| self.repay_to(node))).await;
        }
    }

    async fn repay_to(&self, node: &NodeId) {
        let Some(link) = self.link(node) else { return };
        let devices = lock(&self.pending_takeovers).of(node);
        for (seat @ (user, device), generation) in devices {
            if !link.supersede(user, device, generation).await {
                return;
            }
            if lock(&self.pending_takeovers).acknowledge(node, seat, generation) {
                gimlet_core::info_rated!(%node, "connect node acknowledged all takeovers");
                // The pushes withheld meanwhile are reported as missed, so that the node compares
                // heads.
                link.flush_missed();
            }
        }
    }

    fn owes(&self, node: &NodeId) -> bool {
        lock(&self.pending_takeovers).has(node)
    }

    fn listed(&self, now: Vec<NodeId>) {
        let at = Instant::now();
        let mut nodes = lock(&self.nodes);
        // Every listed node gets the current time, also a known one: `retain` below drops those
        // that were not listed for `UNLISTED_GRACE`.
        for node in now.into_iter().filter(|node| *node != self.here) {
            if nodes.insert(node.clone(), at).is_none() {
                tracing::info!(%node, "connect node found");
            }
        }
        nodes.retain(|node, seen| {
            let known = at.duration_since(*seen) < UNLISTED_GRACE;
            if !known {
                tracing::info!(%node, "connect node gone");
            }
            known
        });
        // `links` is locked while `nodes` is held, never the other way round.
        lock(&self.links).retain(|node, link| {
            let known = nodes.contains_key(node);
            if !known {
                link.end();
            }
            known
        });
    }

    /// Returns the link to this node, made at its first use. `None` if its address is not valid.
    fn link(&self, node: &NodeId) -> Option<Arc<ConnectLink>> {
        let mut links = lock(&self.links);
        if let Some(link) = links.get(node) {
            return Some(Arc::clone(link));
        }
        let channel = self.caller.channel(&node.name);
        let channel = channel.inspect_err(|error| {
            gimlet_core::warn_rated!(%node, %error, "a node advertises an invalid address");
        });
        let (link, queued) = ConnectLink::new(self.here.name.clone(), node.clone(), channel.ok()?);
        let link = Arc::new(link);
        self.tasks
            .spawn(Arc::clone(&link).run(queued, self.stop.clone()));
        links.insert(node.clone(), Arc::clone(&link));
        Some(link)
    }
}

#[async_trait]
impl PeerNodes for RemotePeer {
    async fn nodes(&self) -> Vec<NodeId> {
        lock(&self.inner.nodes).keys().cloned().collect()
    }

    async fn deliver(&self, node: &NodeId, deliveries: Vec<DeliveryBatch>) -> bool {
        let count = deliveries.len() as u64;
        let taken = self.inner.link(node).is_some_and(|link| {
            // A node with a pending takeover may still serve the superseded connection: a push
            // would reach a device that was taken over. The node compares heads later instead.
            let held = self.inner.owes(node);
            if held {
                link.miss();
            }
            !held && link.deliver(&deliveries)
        });
        if !taken {
            self.inner.dropped.fetch_add(count, Ordering::Relaxed);
        }
        taken
    }

    async fn supersede(
        &self,
        node: &NodeId,
        user: UserId,
        device: DeviceId,
        generation: Generation,
    ) {
        let Some(link) = self.inner.link(node) else {
            return;
        };
        // While one takeover is pending, later ones are only recorded: a sign-in must not wait for
        // an unreachable node again and again.
        if !self.inner.owes(node) && link.supersede(user, device, generation).await {
            return;
        }
        if lock(&self.inner.pending_takeovers).note(node, (user, device), generation) {
            gimlet_core::warn_rated!(%node, "takeover not acknowledged by connect node, retrying");
        }
    }

    async fn disconnect(
        &self,
        node: &NodeId,
        user: UserId,
        device: Option<DeviceId>,
        reason: &str,
    ) -> bool {
        match self.inner.link(node) {
            Some(link) => link.disconnect(user, device, reason).await,
            None => false,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poisoned lock is safe to use: each change is one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
