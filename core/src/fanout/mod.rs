//! Fan-out: from stored entries to the nodes that hold their readers' connections.
//!
//! Serves the batcher, the job runner and the live sends. Everything here is a hint that can be
//! lost (law 6); it knows ids and routes, and neither inboxes nor connections.

mod deliver;
mod plan;

#[cfg(test)]
mod tests;

use std::fmt::Debug;

pub use deliver::Fanout;
pub use plan::{Plan, plan, users};

use crate::envelope::Parcel;
use crate::id::{DeviceId, UserId};

/// The connections of this process, as the logic role sees them: the hub, or nothing.
///
/// Calls must not block. The sink knows its own users: a parcel may name others, who are skipped.
pub trait LocalSink: Debug + Send + Sync + 'static {
    /// Hands the parcels, in order, to whoever of their readers is connected here.
    fn deliver(&self, parcels: &[Parcel]);

    /// Closes the user's connection on this device, or on all its devices, if it is here.
    fn disconnect(&self, user: UserId, device: Option<DeviceId>, reason: &str);
}

/// No connections in this process: a node without the connect role.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoConnections;

impl LocalSink for NoConnections {
    fn deliver(&self, _parcels: &[Parcel]) {}

    fn disconnect(&self, _user: UserId, _device: Option<DeviceId>, _reason: &str) {}
}
