//! Delivery of stored events to the hooks' endpoints: at least once, and in order for each receiver.
//!
//! One node delivers a hook at a time, the one that holds its lease. Its `worker` reads the hook's
//! outbox, hands batches to the hook's [`HookEndpoint`], and removes delivered events. What fails is
//! tried again, at growing intervals with jitter, until it is too old; then it becomes a dead letter.
//! Each hook has a worker of its own with bounded memory, so a slow hook delays neither a send nor
//! another hook.
//!
//! An event that fails alone blocks only the events of its receiver (`blocked`); an endpoint that
//! fails as a whole is left alone for a while (`pace`). A batch is split while it fails, because one
//! event of it may be the cause.

mod batch;
mod blocked;
mod counters;
mod endpoint;
mod notification;
mod pace;
mod prepare;
mod registry;
mod state;
#[cfg(test)]
mod tests;
mod worker;

pub use counters::HookStatistics;
pub use endpoint::{DeliveryOutcome, HookEndpoint};
pub use notification::{HookNotification, NotificationBody};
pub use registry::{HookDefinition, HookDelivery, HookDeliveryParts, HookStatus, HookTestResult};
pub use worker::DeliveryRules;
