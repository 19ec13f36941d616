//! The program of a webhook, as core's delivery uses it.

use async_trait::async_trait;
use gimlet_core::hook_delivery::{DeliveryOutcome, HookEndpoint, HookNotification};

use crate::answer::outcome;
use crate::body::bodies;
use crate::client::SignedClient;

/// Posts notifications to the program of a webhook.
#[derive(Clone, Debug)]
pub struct WebhookEndpoint {
    client: SignedClient,
}

impl WebhookEndpoint {
    pub(crate) const fn new(client: SignedClient) -> Self {
        Self { client }
    }
}

#[async_trait]
impl HookEndpoint for WebhookEndpoint {
    async fn deliver(&self, notifications: &[HookNotification]) -> DeliveryOutcome {
        for body in bodies(notifications) {
            let outcome = outcome(self.client.post(body).await);
            if outcome != DeliveryOutcome::Delivered {
                // Bodies before this one have arrived, and arrive again with the next attempt.
                return outcome;
            }
        }
        DeliveryOutcome::Delivered
    }

    fn address(&self) -> String {
        self.client.url.to_string()
    }
}
