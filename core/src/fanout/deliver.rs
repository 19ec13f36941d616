//! Carries a plan out: local parcels to the sink at once, the rest to the peers.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::envelope::Parcel;
use crate::fanout::{LocalSink, plan, users};
use crate::id::{DeviceId, NodeId, UserId};
use crate::peer::Peer;
use crate::store::DeviceRoute;

/// How long routes may take; then the readers on other nodes find the entries by themselves.
const ROUTES_WAIT: Duration = Duration::from_secs(1);

/// Reaches every connection, wherever it is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fanout {
    here: NodeId,
    sink: Arc<dyn LocalSink>,
    peer: Arc<dyn Peer>,
    routes: Arc<dyn DeviceRoute>,
}

impl Fanout {
    /// A fan-out from this node.
    #[must_use]
    pub const fn new(
        here: NodeId,
        sink: Arc<dyn LocalSink>,
        peer: Arc<dyn Peer>,
        routes: Arc<dyn DeviceRoute>,
    ) -> Self {
        Self {
            here,
            sink,
            peer,
            routes,
        }
    }

    /// Hands the parcels to this node's connections and to the other nodes, in order.
    pub async fn deliver(&self, parcels: Vec<Parcel>) {
        self.local(&parcels);
        self.remote(parcels).await;
    }

    /// Hands the parcels to this node's connections; does not wait.
    pub fn local(&self, parcels: &[Parcel]) {
        for parcel in parcels {
            self.sink.deliver(parcel);
        }
    }

    /// Hands the parcels to the other nodes that hold connections of their users. Routes are read
    /// once, and not at all while there are no other nodes.
    pub async fn remote(&self, parcels: Vec<Parcel>) {
        if parcels.is_empty() {
            return;
        }
        let others = self.peer.nodes().await;
        if others.is_empty() {
            return;
        }
        let named = users(&parcels);
        let routes = if named.is_empty() {
            Vec::new()
        } else {
            match timeout(ROUTES_WAIT, self.routes.of(&named)).await {
                Ok(Ok(routes)) => routes,
                Ok(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "routes not read: readers elsewhere get it later");
                    Vec::new()
                }
                Err(_) => {
                    tracing::warn!("routes not read in time: readers elsewhere get it later");
                    Vec::new()
                }
            }
        };
        for (node, part) in plan(parcels, &routes, &self.here, &others).remote {
            if !self.peer.deliver(&node, part).await {
                tracing::debug!(%node, "parcels dropped");
            }
        }
    }

    /// Closes the device's connection, on whichever node it is.
    pub async fn disconnect(&self, user: UserId, device: DeviceId, reason: &str) {
        self.sink.disconnect(user, device, reason);
        let nodes = match timeout(ROUTES_WAIT, self.routes.device(device)).await {
            Ok(Ok(route)) => route.map(|route| vec![route.node]).unwrap_or_default(),
            // Not known where it is: every node is asked.
            Ok(Err(_)) | Err(_) => self.peer.nodes().await,
        };
        for node in nodes.iter().filter(|node| **node != self.here) {
            self.peer.disconnect(node, user, device, reason).await;
        }
    }
}
