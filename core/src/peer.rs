//! The seam between nodes: handing parcels to the node that holds the connections.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::envelope::Parcel;
use crate::id::{DeviceId, Generation, NodeId, UserId};

/// Reaches other connect nodes. Everything it carries is a hint: a lost call costs time, never a
/// message (law 6), so failures are counted and not retried.
#[async_trait]
pub trait Peer: Debug + Send + Sync + 'static {
    /// The connect nodes known now, without this one.
    async fn nodes(&self) -> Vec<NodeId>;

    /// Hands parcels to a node; calls to one node arrive in order. Does not wait for the peer
    /// beyond a bounded queue; returns `false` if they were dropped.
    async fn deliver(&self, node: &NodeId, parcels: Vec<Parcel>) -> bool;

    /// The device has signed in elsewhere with this generation: an older connection of it on that
    /// node is served nothing more.
    async fn supersede(&self, node: &NodeId, device: DeviceId, generation: Generation);

    /// Closes the device's connection on that node, if it is signed in as this user.
    async fn disconnect(&self, node: &NodeId, user: UserId, device: DeviceId, reason: &str);
}

/// No other nodes: everything is in this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

#[async_trait]
impl Peer for Alone {
    async fn nodes(&self) -> Vec<NodeId> {
        Vec::new()
    }

    async fn deliver(&self, _node: &NodeId, _parcels: Vec<Parcel>) -> bool {
        false
    }

    async fn supersede(&self, _node: &NodeId, _device: DeviceId, _generation: Generation) {}

    async fn disconnect(&self, _node: &NodeId, _user: UserId, _device: DeviceId, _reason: &str) {}
}
