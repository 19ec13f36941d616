//! The seam between the endpoint and the protocols of the push services.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use gimlet_core::store::{PushProvider, PushRegistration};

use crate::collapse::CollapseKeys;
use crate::notification::DeviceNotification;

/// A client of one push service.
#[async_trait]
pub(crate) trait PushSender: Debug + Send + Sync + 'static {
    /// Returns the service.
    fn provider(&self) -> PushProvider;

    /// Returns the address of the service, for operators.
    fn address(&self) -> String;

    /// Returns the makers of collapse keys.
    fn collapse(&self) -> &CollapseKeys;

    /// Sends a notification to a device, which is registered with this service.
    async fn send(
        &self,
        registration: &PushRegistration,
        notification: &DeviceNotification,
    ) -> SendOutcome;

    /// Checks what can be checked without a device.
    ///
    /// # Errors
    /// The reason that no notification could be sent now.
    async fn check(&self) -> Result<(), String>;
}

/// Outcome of an attempt to notify a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SendOutcome {
    /// The service accepted the notification.
    Sent,
    /// The service does not know the address, or not any more: the registration ends.
    Gone,
    /// The service does not accept this notification, now or later.
    Rejected(String),
    /// The service works, and does not accept notifications to this device now.
    Delayed(String),
    /// The service was not reached, or accepts nothing now.
    Failed {
        /// The reason.
        error: String,
        /// The pause that the service asks for.
        retry_after: Option<Duration>,
    },
}

impl SendOutcome {
    /// Makes a failure without a wanted pause.
    pub(crate) fn failed(error: impl Into<String>) -> Self {
        Self::Failed {
            error: error.into(),
            retry_after: None,
        }
    }
}
