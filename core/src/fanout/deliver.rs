//! Carries a plan out: local parcels to the sink at once, the rest to the peers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::envelope::Parcel;
use crate::error::Causes;
use crate::fanout::{LocalSink, plan, users};
use crate::id::{DeviceId, NodeId, UserId};
use crate::peer::Peer;
use crate::store::{Device, DeviceRoute, DeviceStore, Route};

/// How long routes may take; then the readers on other nodes find the entries by themselves.
const ROUTES_WAIT: Duration = Duration::from_secs(1);

/// Reaches every connection, wherever it is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fanout {
    here: NodeId,
    sink: Arc<dyn LocalSink>,
    peer: Arc<dyn Peer>,
    routes: Arc<dyn DeviceRoute>,
    devices: Option<Arc<dyn DeviceStore>>,
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
            devices: None,
        }
    }

    /// With the devices' generations, so that a revocation also takes effect on nodes that do not
    /// hear of it.
    #[must_use]
    pub fn with_devices(self, devices: Arc<dyn DeviceStore>) -> Self {
        let devices = Some(devices);
        Self { devices, ..self }
    }

    /// Hands the parcels to this node's connections and to the other nodes, in order.
    pub async fn deliver(&self, parcels: Vec<Parcel>) {
        self.local(&parcels);
        self.remote(parcels).await;
    }

    /// Hands the parcels to this node's connections; does not wait.
    pub fn local(&self, parcels: &[Parcel]) {
        self.sink.deliver(parcels);
    }

    /// Whether there are no other nodes and never will be.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.peer.is_alone()
    }

    /// Hands the parcels to the other nodes that hold connections of their users. Routes are read
    /// once, and not at all where there are no other nodes; a route may name one that is not listed
    /// yet.
    pub async fn remote(&self, parcels: Vec<Parcel>) {
        if parcels.is_empty() || self.peer.is_alone() {
            return;
        }
        let others = self.peer.nodes().await;
        let named = users(&parcels);
        let routes = if named.is_empty() {
            Vec::new()
        } else {
            match timeout(ROUTES_WAIT, self.routes.of(&named)).await {
                Ok(Ok(routes)) => routes,
                Ok(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    crate::warn_rated!(error, "routes not read: readers elsewhere get it later");
                    Vec::new()
                }
                Err(_) => {
                    crate::warn_rated!("routes not read in time: readers elsewhere get it later");
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

    /// Closes the user's connection on this device, or on all its devices, on whichever node it is:
    /// all nodes are told, at once, because routes may be lost or older than the connections, and a
    /// sign-in that is under way has none yet. What a node that does not answer holds of a device is
    /// made an older connection, which neither registers again nor gets parcels. Returns `false` if a
    /// node may serve a connection on.
    pub async fn disconnect(&self, user: UserId, device: Option<DeviceId>, reason: &str) -> bool {
        self.sink.disconnect(user, device, reason);
        if self.peer.is_alone() {
            return true;
        }
        let (nodes, routes, before) = tokio::join!(
            self.peer.nodes(),
            self.routes_of(user, device),
            self.devices_of(user, device),
        );
        let mut nodes: HashSet<NodeId> = nodes.into_iter().collect();
        // The list may be older than the routes.
        nodes.extend(routes.iter().map(|route| route.node.clone()));
        nodes.remove(&self.here);
        let asked = nodes.iter().map(async |node| {
            let heard = self.peer.disconnect(node, user, device, reason).await;
            (!heard).then_some(node)
        });
        let deaf: Vec<&NodeId> = join_all(asked).await.into_iter().flatten().collect();
        if deaf.is_empty() {
            return true;
        }
        let mut before = before;
        for route in routes {
            if before.iter().all(|known| known.id != route.device) {
                before.extend(self.known(route.device).await);
            }
        }
        let mut all = !before.is_empty();
        for device in before {
            all &= self.shut_out(user, device, &deaf).await;
        }
        if !all {
            crate::warn_rated!(%user, "a revocation was not heard by every node");
        }
        all
    }

    /// The routes of this device, or of all the user's devices, as far as they can be read.
    async fn routes_of(&self, user: UserId, device: Option<DeviceId>) -> Vec<Route> {
        let read = async {
            match device {
                Some(device) => Ok(self
                    .routes
                    .device(user, device)
                    .await?
                    .into_iter()
                    .collect()),
                None => self.routes.of(&[user]).await,
            }
        };
        timeout(ROUTES_WAIT, read)
            .await
            .unwrap_or_else(|_| Ok(Vec::new()))
            .unwrap_or_default()
    }

    /// What the store has of this device, or of the devices that have acked the user's inbox.
    async fn devices_of(&self, user: UserId, device: Option<DeviceId>) -> Vec<Device> {
        if let Some(device) = device {
            return self.known(device).await.into_iter().collect();
        }
        let Some(devices) = &self.devices else {
            return Vec::new();
        };
        let Ok(Ok(acked)) = timeout(ROUTES_WAIT, devices.acked(user)).await else {
            return Vec::new();
        };
        let known = acked.iter().map(|(device, _)| self.known(*device));
        join_all(known).await.into_iter().flatten().collect()
    }

    /// What the store has of the device.
    async fn known(&self, device: DeviceId) -> Option<Device> {
        let known = self.devices.as_ref()?.get(device);
        timeout(ROUTES_WAIT, known).await.ok()?.ok()?
    }

    /// Some nodes have not heard of a revocation: the device's generation is raised as by a sign-in
    /// elsewhere, a route that leads nowhere stands for it, and the nodes are told until they hear.
    /// Returns whether that is so.
    async fn shut_out(&self, user: UserId, before: Device, deaf: &[&NodeId]) -> bool {
        let device = before.id;
        let Some(devices) = &self.devices else {
            return false;
        };
        // Signed in anew since: that takes over by itself, and must not be shut out. Another user who
        // signed in under this device's id took nothing over.
        let Some(now) = self.known(device).await else {
            return true;
        };
        if now.generation != before.generation && now.user == Some(user) {
            return true;
        }
        let last = now.user.unwrap_or(user);
        let raised = devices.raise(&[(device, last)], now.updated_at).await;
        let generation = match raised.as_deref() {
            Ok([raised]) => *raised,
            Ok(_) => return false,
            Err(error) => {
                tracing::debug!(error = %Causes(error), %device, "generation not raised");
                return false;
            }
        };
        let nowhere = Route {
            device,
            user,
            generation,
            node: NodeId {
                name: String::new(),
                boot: 0,
            },
            client: None,
        };
        if !matches!(
            timeout(ROUTES_WAIT, self.routes.claim(&nowhere)).await,
            Ok(Ok(_))
        ) {
            tracing::debug!(%device, "no route stands in the way of a revoked connection");
        }
        let told = deaf
            .iter()
            .map(|node| self.peer.supersede(node, user, device, generation));
        join_all(told).await;
        true
    }
}
