//! This node's lease and the routes of its connections.
//!
//! Routes are hints: a store that cannot be reached never stops a sign-in. The route is registered
//! when the store is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream;

use super::Inner;
use crate::hub::Handle;
use crate::id::NodeId;
use crate::peer::Peer;
use crate::store::{Claim, DeviceRoute, Route};

/// Routes registered at a time after a lease has run out.
const AT_ONCE: usize = 64;

#[derive(Debug)]
pub(super) struct Routes {
    node: NodeId,
    store: Arc<dyn DeviceRoute>,
    peer: Arc<dyn Peer>,
    /// A call failed: all routes are to be registered again.
    dirty: AtomicBool,
}

impl Routes {
    pub(super) fn new(node: NodeId, store: Arc<dyn DeviceRoute>, peer: Arc<dyn Peer>) -> Self {
        Self {
            node,
            store,
            peer,
            dirty: AtomicBool::new(true),
        }
    }

    /// Registers a new connection. If the store cannot say which node holds an older one, every node
    /// is told. `false` if the device has a newer one elsewhere.
    pub(super) async fn claim_new(&self, handle: &Handle) -> bool {
        let claimed = self.claim(handle).await;
        if claimed.is_none() {
            let identity = handle.identity();
            let others = self.peer.nodes().await;
            for node in others.iter().filter(|node| **node != self.node) {
                let (device, generation) = (identity.device, identity.generation);
                self.peer.supersede(node, device, generation).await;
            }
        }
        claimed.unwrap_or(true)
    }

    /// Registers the connection, and tells the node that held an older one; `false` if the device
    /// has a newer one elsewhere, `None` if the store did not answer.
    async fn claim(&self, handle: &Handle) -> Option<bool> {
        let identity = handle.identity();
        let route = Route {
            device: identity.device,
            user: identity.user,
            generation: identity.generation,
            node: self.node.clone(),
            client: identity.client.clone(),
        };
        match self.store.claim(&route).await {
            Ok(Claim::Claimed(before)) => {
                if let Some(old) = before.filter(|old| old.node != self.node) {
                    self.peer
                        .supersede(&old.node, old.device, identity.generation)
                        .await;
                }
                Some(true)
            }
            Ok(Claim::Superseded(_)) => Some(false),
            Err(error) => {
                tracing::warn!(%error, "route not registered; it will be when the store is back");
                self.dirty.store(true, Ordering::Relaxed);
                None
            }
        }
    }

    /// All routes are registered again with the next renewal.
    pub(super) fn doubt(&self) {
        self.dirty.store(true, Ordering::Relaxed);
    }

    /// Unregisters the connection, if its route is still the present one.
    pub(super) async fn release(&self, handle: &Handle) {
        let identity = handle.identity();
        if let Err(error) = self
            .store
            .release(identity.device, identity.generation)
            .await
        {
            tracing::debug!(%error, "route not released; it ends with the lease");
        }
    }
}

/// Renews the lease, three times in its length, and registers everything again when it had run out
/// or a call had failed.
pub(super) async fn run(inner: &Inner) {
    let routes = &inner.routes;
    let mut period = tokio::time::interval(inner.limits.lease / 3);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = inner.token.cancelled() => break,
            _ = period.tick() => {}
        }
        match routes.store.renew(&routes.node).await {
            Ok(held) => {
                if routes.dirty.swap(false, Ordering::Relaxed) || !held {
                    register_all(inner).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "lease not renewed");
                routes.dirty.store(true, Ordering::Relaxed);
            }
        }
    }
    if let Err(error) = routes.store.retire(&routes.node).await {
        tracing::debug!(%error, "lease not ended; it runs out by itself");
    }
}

/// Takes the lease again and registers every connection: after a pause of this process.
pub(super) async fn refresh(inner: &Inner) {
    if let Err(error) = inner.routes.store.renew(&inner.routes.node).await {
        tracing::warn!(%error, "lease not renewed");
        inner.routes.doubt();
    }
    register_all(inner).await;
}

/// Registers every connection, and compares every head: pushes may have been lost meanwhile.
async fn register_all(inner: &Inner) {
    let mut handles = Vec::new();
    inner.hub.each(|handle| handles.push(Arc::clone(handle)));
    let claims = stream::iter(handles).for_each_concurrent(AT_ONCE, |handle| async move {
        if inner.routes.claim(&handle).await == Some(false) {
            let identity = handle.identity();
            handle.supersede();
            tracing::debug!(device = %identity.device, "signed in elsewhere meanwhile");
        }
        inner.heads.ask(handle.identity().user);
    });
    claims.await;
}
