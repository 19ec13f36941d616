//! The seam between nodes: delivers to the node that holds the connections.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use crate::delivery::DeliveryBatch;
use crate::id::{DeviceId, Generation, NodeId, UserId};

/// Longest wait for the acknowledgement of a takeover, before the newer sign-in is answered. It is
/// longer than a pause that a node does not notice by itself: a node that has not acknowledged by
/// then is paused, and compares its routes before it serves anything (law 7), or is out of reach.
pub const TAKEOVER_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Calls other connect nodes. Delivery batches are hints: a lost one costs time, never a message
/// (law 6), so failures are counted and not retried. A takeover is retried until it is
/// acknowledged.
#[async_trait]
pub trait PeerNodes: Debug + Send + Sync + 'static {
    /// Returns the connect nodes known now, without this one.
    async fn nodes(&self) -> Vec<NodeId>;

    /// Returns `true` if there never are other nodes.
    fn is_alone(&self) -> bool {
        false
    }

    /// Hands delivery batches to a node; calls to one node arrive in order. Does not wait for the
    /// peer beyond a bounded queue; returns `false` if the batches were dropped.
    async fn deliver(&self, node: &NodeId, deliveries: Vec<DeliveryBatch>) -> bool;

    /// Reports a takeover: the user has signed in elsewhere on this device with this generation,
    /// and an older connection of both on that node must not be served any more. Waits for the
    /// acknowledgement, up to [`TAKEOVER_TIMEOUT`]. Without one the call is repeated in the
    /// background, and the node gets no delivery batches before it has acknowledged.
    async fn supersede(
        &self,
        node: &NodeId,
        user: UserId,
        device: DeviceId,
        generation: Generation,
    );

    /// Closes the user's connection on this device, or on all its devices, on that node; returns
    /// `true` if the node acknowledged it.
    async fn disconnect(
        &self,
        node: &NodeId,
        user: UserId,
        device: Option<DeviceId>,
        reason: &str,
    ) -> bool;
}

/// The peer of a node without others: everything is in this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct SingleNodePeer;

#[async_trait]
impl PeerNodes for SingleNodePeer {
    async fn nodes(&self) -> Vec<NodeId> {
        Vec::new()
    }

    fn is_alone(&self) -> bool {
        true
    }

    async fn deliver(&self, _node: &NodeId, _parcels: Vec<DeliveryBatch>) -> bool {
        false
    }

    async fn supersede(&self, _: &NodeId, _: UserId, _: DeviceId, _: Generation) {}

    async fn disconnect(&self, _: &NodeId, _: UserId, _: Option<DeviceId>, _: &str) -> bool {
        true
    }
}
