//! Routes: the node that holds the connection of each user on each device.
//!
//! A route belongs to a user on a device. Device ids prove nothing, so another user who signs in
//! with the same id has a route of its own and displaces no connection.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;

use crate::id::{DeviceId, Generation, NodeId, UserId};
use crate::store::StoreError;

/// Time after which a store may drop a route that was not claimed again, so that routes of dead
/// nodes do not stay for ever.
pub const ROUTE_LIFETIME: Duration = Duration::from_hours(30 * 24);

/// Interval at which a gateway claims the routes of its connections again.
pub const ROUTE_CLAIM_INTERVAL: Duration = Duration::from_hours(24);

/// A device's connection, as other nodes see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The device.
    pub device: DeviceId,
    /// The user that is signed in.
    pub user: UserId,
    /// Generation of the sign-in.
    pub generation: Generation,
    /// The node that holds the connection. The route is valid while that node's lease is.
    pub node: NodeId,
    /// The client's address, for `GetDevice`.
    pub client: Option<SocketAddr>,
}

/// Store of routes. Routes are hints that can be lost and rebuilt: no durable data depends on them.
#[async_trait]
pub trait RouteStore: Debug + Send + Sync + 'static {
    /// Sets the route of this user on this device, for [`ROUTE_LIFETIME`], if its generation is
    /// larger than that of the present route, or equal on the same node. Returns the route that was
    /// displaced.
    async fn claim(&self, route: &Route) -> Result<RouteClaimOutcome, StoreError>;

    /// Removes the route of this user on this device if it has exactly this generation, and returns
    /// whether it did. A late close of an old connection therefore removes nothing (law 7).
    async fn release(
        &self,
        user: UserId,
        device: DeviceId,
        generation: Generation,
    ) -> Result<bool, StoreError>;

    /// Returns the valid routes of these users, in no particular order.
    async fn of(&self, users: &[UserId]) -> Result<Vec<Route>, StoreError>;

    /// Returns the valid route of this user on this device.
    async fn device(&self, user: UserId, device: DeviceId) -> Result<Option<Route>, StoreError>;

    /// Takes or renews the node's lease.
    async fn renew(&self, node: &NodeId) -> Result<LeaseRenewal, StoreError>;

    /// Returns the nodes with a valid lease, which are the connect nodes, in no particular order.
    async fn nodes(&self) -> Result<Vec<NodeId>, StoreError>;

    /// Ends the node's lease, which makes its routes invalid.
    async fn retire(&self, node: &NodeId) -> Result<(), StoreError>;
}

/// Result of renewing a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRenewal {
    /// Set if the lease had not expired. Otherwise the node registers its routes again (law 8).
    pub held: bool,
    /// Set if the store was created or emptied less than one lease ago. Routes and nodes that have
    /// not registered since may be missing.
    pub forgot: bool,
}

/// Outcome of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteClaimOutcome {
    /// The route is set; the payload is the route it displaced.
    Claimed(Option<Route>),
    /// A route with a larger generation exists: this connection is already superseded.
    Superseded(Route),
}
