//! Executes a fan-out plan: delivers local batches to the sink at once, and the others to the
//! peers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::delivery::DeliveryBatch;
use crate::error::ErrorChain;
use crate::fanout::{LocalSink, plan, users};
use crate::id::{DeviceId, Generation, NodeId, UserId};
use crate::inbox_watch::InboxWatch;
use crate::peer::PeerNodes;
use crate::store::{Device, DeviceStore, Route, RouteStore};

/// Timeout of one store call. After a read of routes that took longer, recipients on other nodes
/// find their entries through the heads.
const STORE_WAIT: Duration = Duration::from_secs(1);

/// A device of a revocation, with its generation from before the nodes were called.
#[derive(Debug)]
struct FenceTarget {
    device: DeviceId,
    generation: Generation,
}

/// The devices of a revocation.
#[derive(Debug)]
struct FenceTargets {
    devices: Vec<FenceTarget>,
    /// False if there may be devices that are not in the list.
    complete: bool,
}

/// A device's record could not be read in time.
#[derive(Debug)]
struct UnreadableDevice;

/// Delivers to connections of this node and of all other nodes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MessageFanout {
    here: NodeId,
    sink: Arc<dyn LocalSink>,
    peer: Arc<dyn PeerNodes>,
    routes: Arc<dyn RouteStore>,
    devices: Option<Arc<dyn DeviceStore>>,
    watch: Option<InboxWatch>,
}

impl MessageFanout {
    /// Makes a fan-out from this node.
    #[must_use]
    pub const fn new(
        here: NodeId,
        sink: Arc<dyn LocalSink>,
        peer: Arc<dyn PeerNodes>,
        routes: Arc<dyn RouteStore>,
    ) -> Self {
        Self {
            here,
            sink,
            peer,
            routes,
            devices: None,
            watch: None,
        }
    }

    /// Adds the store of the devices' generations, so that a revocation also takes effect on nodes
    /// that do not acknowledge it.
    #[must_use]
    pub fn with_devices(self, devices: Arc<dyn DeviceStore>) -> Self {
        let devices = Some(devices);
        Self { devices, ..self }
    }

    /// Wakes callers that wait for an inbox when its entries are delivered.
    #[must_use]
    pub fn with_watch(self, watch: InboxWatch) -> Self {
        let watch = Some(watch);
        Self { watch, ..self }
    }

    /// Hands delivery batches to this node's connections and to the other nodes, in order.
    pub async fn deliver(&self, deliveries: Vec<DeliveryBatch>) {
        // Local first: it does not wait, and the connections here need not wait for the routes.
        self.local(&deliveries);
        self.remote(deliveries).await;
    }

    /// Hands delivery batches to this node's connections, and wakes callers that wait for an inbox;
    /// does not wait.
    pub fn local(&self, deliveries: &[DeliveryBatch]) {
        self.sink.deliver(deliveries);
        if let Some(watch) = &self.watch {
            watch.delivered(deliveries);
        }
    }

    /// Returns `true` if there are no other nodes and never will be.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.peer.is_alone()
    }

    /// Hands delivery batches to the other nodes that hold connections of their recipients. Routes
    /// are read once for all batches, and not at all if there are no other nodes. A route may name
    /// a node that is not listed yet.
    pub async fn remote(&self, deliveries: Vec<DeliveryBatch>) {
        if deliveries.is_empty() || self.peer.is_alone() {
            return;
        }
        let others = self.peer.nodes().await;
        let named = users(&deliveries);
        let routes = if named.is_empty() {
            Vec::new()
        } else {
            match timeout(STORE_WAIT, self.routes.of(&named)).await {
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
        for (node, part) in plan(deliveries, &routes, &self.here, &others).remote {
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
    /// batches. A device that cannot be fenced, or a list of devices that cannot be read, makes the
    /// result `false`.
    ///
    /// Order: close the local connections; read nodes, routes and generations; call the nodes;
    /// fence the devices if a node did not acknowledge. All generations are read before the calls,
    /// so that a sign-in after them is recognised as new and is not fenced.
    pub async fn disconnect(&self, user: UserId, device: Option<DeviceId>, reason: &str) -> bool {
        self.sink.disconnect(user, device, reason);
        if self.peer.is_alone() {
            return true;
        }
        let (nodes, routes, devices) = tokio::join!(
            self.peer.nodes(),
            self.routes_of(user, device),
            self.devices_of(user, device),
        );
        let targets = self.fence_targets(device, routes.as_deref(), devices).await;
        let mut nodes: HashSet<NodeId> = nodes.into_iter().collect();
        // The list of nodes may be older than the routes.
        nodes.extend(routes.iter().flatten().map(|route| route.node.clone()));
        nodes.remove(&self.here);
        let asked = nodes.iter().map(async |node| {
            let acknowledged = self.peer.disconnect(node, user, device, reason).await;
            (!acknowledged).then_some(node)
        });
        let unreachable: Vec<&NodeId> = join_all(asked).await.into_iter().flatten().collect();
        if unreachable.is_empty() {
            return true;
        }
        let mut all = targets.complete;
        for target in &targets.devices {
            all &= self.fence(user, target, &unreachable).await;
        }
        if !all {
            crate::warn_rated!(%user, "revocation not acknowledged by every connect node");
        }
        all
    }

    /// Returns the routes of this device, or of all the user's devices; `None` if they cannot be
    /// read in time.
    async fn routes_of(&self, user: UserId, device: Option<DeviceId>) -> Option<Vec<Route>> {
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
        timeout(STORE_WAIT, read).await.ok()?.ok()
    }

    /// Returns this device, or all devices that have acked the user's inbox; `None` if they cannot
    /// be read in time.
    async fn devices_of(&self, user: UserId, device: Option<DeviceId>) -> Option<Vec<DeviceId>> {
        if let Some(device) = device {
            return Some(vec![device]);
        }
        let acked = self.devices.as_ref()?.acked(user);
        let acked = timeout(STORE_WAIT, acked).await.ok()?.ok()?;
        Some(acked.into_iter().map(|(device, _)| device).collect())
    }

    /// Returns the devices to fence on nodes that do not acknowledge: those in `devices`, and those
    /// that have a route only, because they never acked. The generation comes from the device's
    /// record, and for an unregistered device, which has none, from its route.
    async fn fence_targets(
        &self,
        device: Option<DeviceId>,
        routes: Option<&[Route]>,
        devices: Option<Vec<DeviceId>>,
    ) -> FenceTargets {
        // A single device is known without its route; a list of all devices needs the routes.
        let mut complete = devices.is_some() && (device.is_some() || routes.is_some());
        let routes = routes.unwrap_or_default();
        let mut ids = devices.unwrap_or_default();
        ids.extend(routes.iter().map(|route| route.device));
        ids.sort_unstable();
        ids.dedup();
        let records = join_all(ids.iter().map(|device| self.record(*device))).await;
        let mut known = Vec::with_capacity(ids.len());
        for (device, record) in ids.into_iter().zip(records) {
            let route = || routes.iter().find(|route| route.device == device);
            let generation = match record {
                Ok(Some(record)) => Some(record.generation),
                Ok(None) => route().map(|route| route.generation),
                Err(UnreadableDevice) => None,
            };
            match generation {
                Some(generation) => known.push(FenceTarget { device, generation }),
                None => complete = false,
            }
        }
        // A revocation that finds no device at all may come before the first ack and the first
        // route of a device.
        complete &= !known.is_empty();
        FenceTargets {
            devices: known,
            complete,
        }
    }

    /// Returns the stored record of the device; `Ok(None)` if it is not registered.
    async fn record(&self, device: DeviceId) -> Result<Option<Device>, UnreadableDevice> {
        let devices = self.devices.as_ref().ok_or(UnreadableDevice)?;
        let read = timeout(STORE_WAIT, devices.get(device)).await;
        read.map_err(|_| UnreadableDevice)?
            .map_err(|_| UnreadableDevice)
    }

    /// Fences a device on nodes that did not acknowledge a revocation. Returns `true` if the device
    /// is fenced, or needs no fence.
    ///
    /// Order: raise the generation above the old connection's, as a sign-in elsewhere does; then
    /// claim a route with it that points to no node, so that the old connection can neither
    /// register again nor get delivery batches; then report the takeover to the nodes, which is
    /// repeated until they acknowledge it.
    async fn fence(&self, user: UserId, target: &FenceTarget, unreachable: &[&NodeId]) -> bool {
        let device = target.device;
        let Some(devices) = &self.devices else {
            return false;
        };
        // Without the record nothing is known about the device, so it is not fenced.
        let Ok(now) = self.record(device).await else {
            return false;
        };
        // A sign-in of this user since then takes over by itself and must not be fenced. Another
        // user that signed in under this device id took over nothing.
        let signed_in_since =
            |now: &Device| now.generation != target.generation && now.user == Some(user);
        if now.as_ref().is_some_and(signed_in_since) {
            return true;
        }
        let last = now.as_ref().and_then(|now| now.user).unwrap_or(user);
        let at = now.map(|now| now.updated_at).unwrap_or_default();
        let raise = [(device, last)];
        let raised = timeout(STORE_WAIT, devices.raise(&raise, at)).await;
        let generation = match raised.as_ref().map(Result::as_deref) {
            Ok(Ok([raised])) => *raised,
            Ok(Ok(_)) => return false,
            Ok(Err(error)) => {
                tracing::debug!(error = %ErrorChain(error), %device, "generation not raised");
                return false;
            }
            Err(_) => {
                tracing::debug!(%device, "generation not raised in time");
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
        let claimed = timeout(STORE_WAIT, self.routes.claim(&nowhere)).await;
        let claimed = matches!(claimed, Ok(Ok(_)));
        if !claimed {
            // Other nodes still find the old route, so the device is not fenced.
            tracing::debug!(%device, "route of a revoked connection not replaced");
        }
        let notifications = unreachable
            .iter()
            .map(|node| self.peer.supersede(node, user, device, generation));
        join_all(notifications).await;
        claimed
    }
}
