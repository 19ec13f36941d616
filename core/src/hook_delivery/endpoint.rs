//! The seam to the programs that hooks belong to.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use crate::hook_delivery::HookNotification;

/// The program that gets the events of a hook: over HTTP, or inside this process.
#[async_trait]
pub trait HookEndpoint: Debug + Send + Sync + 'static {
    /// Delivers notifications, in their order. It must end by itself within some seconds, because the
    /// worker does not stop it. The same notifications may come again, also after a success.
    async fn deliver(&self, notifications: &[HookNotification]) -> DeliveryOutcome;

    /// Returns the address for operators, without secrets.
    fn address(&self) -> String;
}

/// Outcome of an attempt to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// All notifications arrived.
    Delivered,
    /// The program works and does not accept these notifications. One of them may be the cause, so
    /// they are tried again in smaller batches, without a pause.
    Refused(String),
    /// The program failed. One of the notifications may be the cause, so they are tried again in
    /// smaller batches, after a pause.
    Failed(String),
    /// The program was not reached, or does not accept anything now: the same notifications are
    /// tried again after a pause.
    Unreachable {
        /// The reason.
        error: String,
        /// The pause that the program asks for.
        retry_after: Option<Duration>,
    },
}
