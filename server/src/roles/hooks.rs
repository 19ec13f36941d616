//! The hooks of the logic role: the events that they want, their delivery, and the hook that decides
//! about messages.

use std::sync::Arc;

use gimlet_core::before_send::BeforeSendPolicy;
use gimlet_core::events::EventSubscriptions;
use gimlet_core::hook_delivery::{HookDefinition, HookDelivery, HookDeliveryParts};
use gimlet_core::id::NodeId;
use gimlet_core::service::LogicService;
use gimlet_core::store::{OutboxBounds, PushProvider, PushTokenStore};
use gimlet_core::time::TimeSource;
use gimlet_push::PushCounters;
use gimlet_webhooks::{OutboundPolicy, WebhookSettings, WebhookStartError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::start_error::StartError;

/// The hooks of the configuration, opened but not started.
#[derive(Debug, Default)]
pub(super) struct ConfiguredHooks {
    /// The events that they want.
    pub(super) events: EventSubscriptions,
    /// The hook that decides about messages.
    pub(super) before_send: Option<Arc<BeforeSendPolicy>>,
    /// The counters of the push services.
    pub(super) push: Vec<ProviderCounters>,
    definitions: Vec<HookDefinition>,
}

/// A push service with its counters.
pub(crate) type ProviderCounters = (PushProvider, Arc<PushCounters>);

impl ConfiguredHooks {
    /// Opens the clients of the webhooks, and those of the push services.
    ///
    /// # Errors
    /// The configuration is invalid, or the file of CAs cannot be read.
    pub(super) fn open(
        config: &Config,
        tokens: Option<&Arc<dyn PushTokenStore>>,
        clock: &Arc<dyn TimeSource>,
    ) -> Result<Self, StartError> {
        let refused = |problems: Vec<String>| StartError::Role(problems.join("; "));
        let webhooks = config.configured_webhooks().map_err(refused)?;
        let policy = OutboundPolicy::default();
        let push = config.push_settings().map_err(refused)?;
        let subscriptions = webhooks.events.iter().map(WebhookSettings::subscription);
        let subscriptions = subscriptions.chain(push.subscriptions());
        let events = EventSubscriptions::new(subscriptions.collect())
            .map_err(|error| StartError::Role(error.to_string()))?;
        let definitions = webhooks.events.iter();
        let definitions = definitions.map(|it| it.open(&policy, Arc::clone(clock)));
        let definitions: Result<Vec<_>, WebhookStartError> = definitions.collect();
        let before_send = webhooks.before_send.as_ref();
        let max_content = config.limits.node.content;
        let before_send = before_send.map(|it| it.open(&policy, Arc::clone(clock), max_content));
        let mut definitions = definitions.map_err(failed)?;
        let mut counters = Vec::new();
        if let Some(tokens) = tokens {
            let opened = push.open(&config.outbound_policy(), tokens, clock);
            for service in opened.map_err(StartError::Role)? {
                counters.push((service.provider, service.counters));
                definitions.push(service.hook);
            }
        }
        Ok(Self {
            events,
            push: counters,
            definitions,
            before_send: before_send.transpose().map_err(failed)?.map(Arc::new),
        })
    }

    /// Starts their delivery.
    pub(super) fn start(
        self,
        service: &LogicService,
        node: NodeId,
        clock: Arc<dyn TimeSource>,
        tracker: &TaskTracker,
        token: &CancellationToken,
    ) -> HookDelivery {
        let (stores, limits) = (service.stores(), service.limits());
        let parts = HookDeliveryParts {
            outbox: Arc::clone(&stores.outbox),
            routes: Arc::clone(&stores.route),
            directory: service.directory().clone(),
            events: self.events,
            node,
            clock,
            bounds: OutboxBounds {
                events: limits.webhook_events,
                dead_letters: limits.webhook_dead_letters,
            },
            hooks: self.definitions,
        };
        HookDelivery::start(parts, tracker, token)
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is the end of the error: map_err(failed)"
)]
fn failed(error: WebhookStartError) -> StartError {
    StartError::Role(error.to_string())
}
