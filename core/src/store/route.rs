//! Which node holds which connection: one for each user on a device.
//!
//! A route belongs to a user on a device. Device ids prove nothing, so another user who signs in under
//! the same id has a route of its own and displaces nobody.

use std::fmt::Debug;
use std::net::SocketAddr;

use async_trait::async_trait;

use crate::id::{DeviceId, Generation, NodeId, UserId};
use crate::store::StoreError;

/// A device's connection, as other nodes see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The device.
    pub device: DeviceId,
    /// The user it is signed in as.
    pub user: UserId,
    /// The sign-in it belongs to.
    pub generation: Generation,
    /// The node that holds the connection; the route counts while that node's lease lives.
    pub node: NodeId,
    /// The client's address, for `GetDevice`.
    pub client: Option<SocketAddr>,
}

/// Routes. They are hints that can be lost and rebuilt: nothing that lasts depends on them.
#[async_trait]
pub trait DeviceRoute: Debug + Send + Sync + 'static {
    /// Sets the route of this user on this device if its generation is larger than the present
    /// one's, or equal on the same node; returns the route that was displaced.
    async fn claim(&self, route: &Route) -> Result<Claim, StoreError>;

    /// Removes the route of this user on this device if it has exactly this generation; otherwise
    /// changes nothing (a late close of an old connection removes nothing: law 7). Returns whether
    /// it did.
    async fn release(
        &self,
        user: UserId,
        device: DeviceId,
        generation: Generation,
    ) -> Result<bool, StoreError>;

    /// The live routes of these users, in no particular order.
    async fn of(&self, users: &[UserId]) -> Result<Vec<Route>, StoreError>;

    /// The live route of this user on this device.
    async fn device(&self, user: UserId, device: DeviceId) -> Result<Option<Route>, StoreError>;

    /// Takes or renews the node's lease.
    async fn renew(&self, node: &NodeId) -> Result<Renewal, StoreError>;

    /// The nodes whose lease lives, in no particular order: the connect nodes there are.
    async fn nodes(&self) -> Result<Vec<NodeId>, StoreError>;

    /// Ends the node's lease: its routes count no more.
    async fn retire(&self, node: &NodeId) -> Result<(), StoreError>;
}

/// What a renewal of a lease found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// The lease had not run out before; otherwise the node registers its routes again (law 8).
    pub held: bool,
    /// The store is new, or was emptied, less than one lease ago: routes and nodes may be missing
    /// that have not been registered since.
    pub forgot: bool,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The route is set; this one was there before.
    Claimed(Option<Route>),
    /// A route of a larger generation is there: this connection is superseded already.
    Superseded(Route),
}
