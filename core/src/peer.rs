//! The seam between nodes: handing parcels to the node that holds the connections.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::envelope::Parcel;
use crate::id::{DeviceId, Generation, NodeId, UserId};

/// Reaches other connect nodes. Parcels are hints: a lost one costs time, never a message (law 6),
/// so failures are counted and not retried. A takeover is said until it was heard.
#[async_trait]
pub trait Peer: Debug + Send + Sync + 'static {
    /// The connect nodes known now, without this one.
    async fn nodes(&self) -> Vec<NodeId>;

    /// Whether there never are others.
    fn is_alone(&self) -> bool {
        false
    }

    /// Hands parcels to a node; calls to one node arrive in order. Does not wait for the peer
    /// beyond a bounded queue; returns `false` if they were dropped.
    async fn deliver(&self, node: &NodeId, parcels: Vec<Parcel>) -> bool;

    /// The user has signed in elsewhere on this device with this generation: an older connection of
    /// both on that node is served nothing more. Waits for the node for a moment; if it has not heard
    /// it then, it is told again and again, and gets no parcels before.
    async fn supersede(
        &self,
        node: &NodeId,
        user: UserId,
        device: DeviceId,
        generation: Generation,
    );

    /// Closes the user's connection on this device, or on all its devices, on that node; returns
    /// whether the node has heard it.
    async fn disconnect(
        &self,
        node: &NodeId,
        user: UserId,
        device: Option<DeviceId>,
        reason: &str,
    ) -> bool;
}

/// No other nodes: everything is in this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

#[async_trait]
impl Peer for Alone {
    async fn nodes(&self) -> Vec<NodeId> {
        Vec::new()
    }

    fn is_alone(&self) -> bool {
        true
    }

    async fn deliver(&self, _node: &NodeId, _parcels: Vec<Parcel>) -> bool {
        false
    }

    async fn supersede(&self, _: &NodeId, _: UserId, _: DeviceId, _: Generation) {}

    async fn disconnect(&self, _: &NodeId, _: UserId, _: Option<DeviceId>, _: &str) -> bool {
        true
    }
}
