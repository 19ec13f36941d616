//! Executes a fan-out plan: delivers local batches to the sink at once, and the others to the
//! peers.

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

/// Timeout of a read of routes; after it, recipients on other nodes find their entries through the
/// heads.
const ROUTES_WAIT: Duration = Duration::from_secs(1);

/// Delivers to connections of this node and of all other nodes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fanout {
    here: NodeId,
    sink: Arc<dyn LocalSink>,
    peer: Arc<dyn Peer>,
    routes: Arc<dyn DeviceRoute>,
    devices: Option<Arc<dyn DeviceStore>>,
}

impl Fanout {
    /// Makes a fan-out from this node.
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

    /// Adds the store of the devices' generations, so that a revocation also takes effect on nodes
    /// that do not acknowledge it.
    #[must_use]
    pub fn with_devices(self, devices: Arc<dyn DeviceStore>) -> Self {
        let devices = Some(devices);
        Self { devices, ..self }
    }

    /// Hands delivery batches to this node's connections and to the other nodes, in order.
    pub async fn deliver(&self, parcels: Vec<Parcel>) {
        // Local first: it does not wait, and the connections here need not wait for the routes.
        self.local(&parcels);
        self.remote(parcels).await;
    }

    /// Hands delivery batches to this node's connections; does not wait.
    pub fn local(&self, parcels: &[Parcel]) {
        self.sink.deliver(parcels);
    }

    /// Returns `true` if there are no other nodes and never will be.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.peer.is_alone()
    }

    /// Hands delivery batches to the other nodes that hold connections of their recipients. Routes
    /// are read once for all batches, and not at all if there are no other nodes. A route may name
    /// a node that is not listed yet.
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
                    crate::warn_rated!(error, "routes not read: delivery to other nodes delayed");
                    Vec::new()
                }
                Err(_) => {
                    crate::warn_rated!("routes not read in time: delivery to other nodes delayed");
                    Vec::new()
                }
            }
        };
        for (node, part) in plan(parcels, &routes, &self.here, &others).remote {
            if !self.peer.deliver(&node, part).await {
                tracing::debug!(%node, "delivery batches dropped");
            }
        }
    }

    /// Closes the user's connection on this device, or on all its devices, on every node. Returns
    /// `false` if a node may still serve a connection.
    ///
    /// All nodes are called at once, because routes may be lost or older than the connections, and
    /// a sign-in in progress has no route yet. A device whose node does not acknowledge is fenced:
    /// its connection becomes an older generation, which neither registers again nor gets delivery
    /// batches.
    ///
    /// Order: close the local connections; read nodes, routes and generations; call the nodes;
    /// fence the devices of those that did not acknowledge. The generations are read before the
    /// calls, so that a sign-in after them is recognised as new and is not fenced.
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
        // The list of nodes may be older than the routes.
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
        // Devices that never acked are known from their routes only. Their generations are read
        // after the calls, so a sign-in in between is fenced as well.
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
            crate::warn_rated!(%user, "revocation not acknowledged by every connect node");
        }
        all
    }

    /// Returns the routes of this device, or of all the user's devices; none if they cannot be read
    /// in time.
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

    /// Returns the stored record of this device, or of all devices that have acked the user's
    /// inbox; devices that cannot be read in time are left out.
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

    /// Returns the stored record of the device; `None` if it is absent or cannot be read in time.
    async fn known(&self, device: DeviceId) -> Option<Device> {
        let known = self.devices.as_ref()?.get(device);
        timeout(ROUTES_WAIT, known).await.ok()?.ok()?
    }

    /// Fences a device on nodes that did not acknowledge a revocation. Returns `true` if the device
    /// is fenced, or needs no fence.
    ///
    /// Order: raise the generation above the old connection's, as a sign-in elsewhere does; then
    /// claim a route with it that points to no node, so that the old connection can neither
    /// register again nor get delivery batches; then report the takeover to the nodes, which is
    /// repeated until they acknowledge it.
    async fn shut_out(&self, user: UserId, before: Device, deaf: &[&NodeId]) -> bool {
        let device = before.id;
        let Some(devices) = &self.devices else {
            return false;
        };
        // A sign-in of this user since then takes over by itself and must not be fenced. Another
        // user that signed in under this device id took over nothing.
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
            tracing::debug!(%device, "route of a revoked connection not replaced");
        }
        let told = deaf
            .iter()
            .map(|node| self.peer.supersede(node, user, device, generation));
        join_all(told).await;
        true
    }
}
