//! The push services of a configuration, and the hooks that are made of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gimlet_core::events::{EventKind, HookName, HookSubscription, MessageFilter};
use gimlet_core::hook_delivery::{DeliveryRules, HookDefinition};
use gimlet_core::push_registry::PushServices;
use gimlet_core::store::{PushProvider, PushTokenStore};
use gimlet_core::time::TimeSource;
use gimlet_outbound::{OutboundClient, OutboundPolicy};

use crate::apns::{ApnsSender, ApnsSettings};
use crate::counters::PushCounters;
use crate::endpoint::PushEndpoint;
use crate::fcm::{FcmSender, FcmSettings};
use crate::notification::NotificationRules;
use crate::sender::PushSender;
use crate::webpush::{WebPushSender, WebPushSettings};

/// Events of one batch.
const BATCH_EVENTS: usize = 100;
/// Batches of one service under way at a time.
const PARALLEL_BATCHES: usize = 4;
/// Exchanges with one host at a time; over HTTP/2 they share a connection.
const EXCHANGES_PER_HOST: usize = 128;

/// Returns the name of the hook that feeds a push service.
///
/// # Panics
/// Never: the names are constants.
#[must_use]
pub fn hook_name(provider: PushProvider) -> HookName {
    let name = format!("push-{}", provider.name());
    HookName::new(&name).expect("the names of providers are lower-case words")
}

/// The push services of a configuration.
#[derive(Clone, Debug)]
pub struct PushSettings {
    /// Apple's devices.
    pub apns: Option<ApnsSettings>,
    /// Apps that are registered with Firebase.
    pub fcm: Option<FcmSettings>,
    /// Browsers.
    pub webpush: Option<WebPushSettings>,
    /// Rules of notifications.
    pub rules: NotificationRules,
    /// Time for which a notification is tried; then its event becomes a dead letter.
    pub retry_for: Duration,
    /// Accepts subscriptions of browsers at plain or private addresses.
    pub allow_private: bool,
}

/// A push service that is ready to be started.
#[derive(Debug)]
pub struct ConfiguredPush {
    /// The service.
    pub provider: PushProvider,
    /// Its hook.
    pub hook: HookDefinition,
    /// Its counters.
    pub counters: Arc<PushCounters>,
}

impl PushSettings {
    fn providers(&self) -> impl Iterator<Item = PushProvider> {
        PushProvider::ALL
            .into_iter()
            .filter(|provider| match provider {
                PushProvider::Apns => self.apns.is_some(),
                PushProvider::Fcm => self.fcm.is_some(),
                PushProvider::WebPush => self.webpush.is_some(),
            })
    }

    /// Returns the events that are stored for the push services.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<HookSubscription> {
        self.providers()
            .map(|provider| HookSubscription {
                name: hook_name(provider),
                events: BTreeSet::from([EventKind::MessageOffline]),
                messages: MessageFilter::ALL,
            })
            .collect()
    }

    /// Returns the services that clients may register with.
    #[must_use]
    pub fn services(&self) -> PushServices {
        let (apns, webpush) = (self.apns.as_ref(), self.webpush.as_ref());
        PushServices {
            apns_topics: apns.map(|it| it.topics.clone()).unwrap_or_default(),
            has_fcm: self.fcm.is_some(),
            webpush_key: webpush.map(|it| it.key.public_text()),
            webpush_hosts: webpush.map(|it| it.hosts.clone()).unwrap_or_default(),
            allow_private: self.allow_private,
        }
    }

    /// Opens the clients of the services. Each has connections of its own, so that a slow service
    /// does not take those of another.
    ///
    /// # Errors
    /// The file of CAs cannot be read, or an address cannot be used.
    pub fn open(
        &self,
        base: &OutboundPolicy,
        tokens: &Arc<dyn PushTokenStore>,
        clock: &Arc<dyn TimeSource>,
    ) -> Result<Vec<ConfiguredPush>, String> {
        let client = || {
            let policy = OutboundPolicy {
                exchanges_per_host: EXCHANGES_PER_HOST,
                ..base.clone()
            };
            OutboundClient::new(&policy).map_err(|error| error.to_string())
        };
        let clock = || Arc::clone(clock);
        let mut senders: Vec<Arc<dyn PushSender>> = Vec::new();
        if let Some(settings) = &self.apns {
            let sender = ApnsSender::new(settings.clone(), client()?, clock());
            senders.push(Arc::new(sender));
        }
        if let Some(settings) = &self.fcm {
            senders.push(Arc::new(FcmSender::new(settings, client()?, clock())?));
        }
        if let Some(settings) = &self.webpush {
            let sender = WebPushSender::new(settings.clone(), client()?, clock());
            senders.push(Arc::new(sender));
        }
        let rules = DeliveryRules {
            batch: BATCH_EVENTS,
            concurrency: PARALLEL_BATCHES,
            retry_for: self.retry_for,
        };
        let configured = senders.into_iter().map(|sender| {
            let provider = sender.provider();
            let endpoint = PushEndpoint::new(sender, Arc::clone(tokens), clock(), self.rules);
            ConfiguredPush {
                provider,
                counters: endpoint.counters(),
                hook: HookDefinition {
                    name: hook_name(provider),
                    endpoint: Arc::new(endpoint),
                    rules,
                },
            }
        });
        Ok(configured.collect())
    }
}
