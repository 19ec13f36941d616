//! Fan-out: from stored entries to the nodes that hold the recipients' connections.
//!
//! Serves the batch writer, the job runner and the live sends. Everything here is a hint that can
//! be lost (law 6). It uses ids and routes, and neither inboxes nor connections.

mod deliver;
mod plan;

#[cfg(test)]
mod tests;

use std::fmt::Debug;

pub use deliver::MessageFanout;
pub use plan::{FanoutPlan, plan, users};

use crate::delivery::DeliveryBatch;
use crate::id::{DeviceId, UserId};

/// The connections of this process, as the logic role sees them: the hub, or none.
///
/// Calls must not block. The sink finds its own users: a delivery batch may name others, which are
/// skipped.
pub trait LocalSink: Debug + Send + Sync + 'static {
    /// Hands delivery batches, in order, to the recipients that are connected here.
    fn deliver(&self, deliveries: &[DeliveryBatch]);

    /// Closes the user's connections here, on this device or on all its devices.
    fn disconnect(&self, user: UserId, device: Option<DeviceId>, reason: &str);
}

/// The sink of a node without the connect role, which has no connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoConnections;

impl LocalSink for NoConnections {
    fn deliver(&self, _parcels: &[DeliveryBatch]) {}

    fn disconnect(&self, _user: UserId, _device: Option<DeviceId>, _reason: &str) {}
}
