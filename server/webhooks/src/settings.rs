//! Settings of webhooks, and the parts that are made of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gimlet_core::before_send::{BeforeSendPolicy, BeforeSendRules, HookFailureMode};
use gimlet_core::events::{EventKind, HookSubscription, MessageFilter};
use gimlet_core::hook_delivery::{DeliveryRules, HookDefinition};
use gimlet_core::time::TimeSource;
use gimlet_outbound::OutboundPolicy;

use crate::before_send::HttpBeforeSendHook;
use crate::client::{HookConnection, WebhookStartError};
use crate::endpoint::WebhookEndpoint;

/// Longest time that a send waits for the answer to `message.before_send`.
const MAX_BEFORE_SEND_WAIT: Duration = Duration::from_secs(1);

/// A webhook that gets events.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// The connection to its program.
    pub connection: HookConnection,
    /// The events.
    pub events: BTreeSet<EventKind>,
    /// The receivers whose messages it gets.
    pub messages: MessageFilter,
    /// Maximum number of events in a request.
    pub batch: usize,
    /// Time for which an event is tried.
    pub retry_for: Duration,
}

impl WebhookSettings {
    /// Returns the events that are stored for this webhook.
    #[must_use]
    pub fn subscription(&self) -> HookSubscription {
        HookSubscription {
            name: self.connection.name.clone(),
            events: self.events.clone(),
            messages: self.messages,
        }
    }

    /// Opens its client.
    ///
    /// # Errors
    /// The settings are invalid, or the file of CAs cannot be read.
    pub fn open(
        &self,
        base: &OutboundPolicy,
        clock: Arc<dyn TimeSource>,
    ) -> Result<HookDefinition, WebhookStartError> {
        let client = self.connection.open(base, self.connection.timeout, clock)?;
        Ok(HookDefinition {
            name: self.connection.name.clone(),
            endpoint: Arc::new(WebhookEndpoint::new(client)),
            rules: DeliveryRules {
                batch: self.batch,
                concurrency: self.connection.concurrency,
                retry_for: self.retry_for,
            },
        })
    }
}

/// The webhook that is asked before a message is accepted.
#[derive(Clone, Debug)]
pub struct BeforeSendSettings {
    /// The connection to its program. A send waits for at most one second.
    pub connection: HookConnection,
    /// The decision without an answer.
    pub failure: HookFailureMode,
}

impl BeforeSendSettings {
    /// Opens its client. `max_content` is the limit of a message's content.
    ///
    /// # Errors
    /// The settings are invalid, or the file of CAs cannot be read.
    pub fn open(
        &self,
        base: &OutboundPolicy,
        clock: Arc<dyn TimeSource>,
        max_content: usize,
    ) -> Result<BeforeSendPolicy, WebhookStartError> {
        let deadline = self.connection.timeout.min(MAX_BEFORE_SEND_WAIT);
        let client = self.connection.open(base, deadline, clock)?;
        let rules = BeforeSendRules {
            deadline,
            concurrency: self.connection.concurrency,
            failure: self.failure,
            max_content,
        };
        let hook = HttpBeforeSendHook::new(client);
        Ok(BeforeSendPolicy::new(Arc::new(hook), rules))
    }
}
