//! The endpoint of a push service: finds the devices of users that have new messages, and notifies
//! them.
//!
//! A device that fails does not keep the others from their notifications: what arrived is remembered
//! until the batch as a whole has (`recent_sends`). A failure of the service ends the batch at once,
//! because every other send would wait for it, too.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream;
use gimlet_core::error::ErrorChain;
use gimlet_core::hook_delivery::{
    DeliveryOutcome, HookEndpoint, HookNotification, NotificationBody,
};
use gimlet_core::id::UserId;
use gimlet_core::store::{PushRegistration, PushTokenStore, StoreError, StoreErrorKind};
use gimlet_core::time::TimeSource;
use gimlet_core::{info_rated, warn_rated};
use tokio::time::timeout;

use crate::conversation::{UnseenConversation, by_conversation};
use crate::counters::PushCounters;
use crate::notification::{DeviceNotification, NotificationRules};
use crate::recent_sends::{NotifiedMessage, RecentSends};
use crate::sender::{PushSender, SendOutcome};

/// Users whose registrations are read in one call.
const USERS_PER_CALL: usize = 500;
/// Time limit of such a call.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);
/// Sends of one batch at a time.
const PARALLEL_SENDS: usize = 64;

/// Notifies the devices that are registered with one push service.
#[derive(Debug)]
pub struct PushEndpoint {
    sender: Arc<dyn PushSender>,
    tokens: Arc<dyn PushTokenStore>,
    clock: Arc<dyn TimeSource>,
    rules: NotificationRules,
    counters: Arc<PushCounters>,
    recent: RecentSends,
}

/// One notification that is to be sent.
struct PendingSend {
    registration: Arc<PushRegistration>,
    unseen: Arc<UnseenConversation>,
}

impl PendingSend {
    fn newest(&self) -> NotifiedMessage {
        let unseen = &self.unseen;
        let message = unseen.newest.message.id;
        (unseen.user, self.registration.device, message)
    }

    /// Returns all messages that the notification stands for: after a split, an older one of them
    /// must not replace the notification of a newer one.
    fn messages(&self) -> Vec<NotifiedMessage> {
        let (user, device) = (self.unseen.user, self.registration.device);
        let older = self.unseen.older.iter();
        let older = older.map(|it| (user, device, it.message.id));
        older.chain([self.newest()]).collect()
    }
}

/// State of the delivery of a batch.
#[derive(Default)]
struct BatchProgress {
    notified: Vec<NotifiedMessage>,
    /// Reason that a device gets its notification later.
    delayed: Option<String>,
}

impl PushEndpoint {
    pub(crate) fn new(
        sender: Arc<dyn PushSender>,
        tokens: Arc<dyn PushTokenStore>,
        clock: Arc<dyn TimeSource>,
        rules: NotificationRules,
    ) -> Self {
        Self {
            sender,
            tokens,
            clock,
            rules,
            counters: Arc::default(),
            recent: RecentSends::default(),
        }
    }

    /// Returns the counters of this service.
    #[must_use]
    pub fn counters(&self) -> Arc<PushCounters> {
        Arc::clone(&self.counters)
    }

    async fn registrations(
        &self,
        users: &[UserId],
    ) -> Result<HashMap<UserId, Vec<Arc<PushRegistration>>>, StoreError> {
        let read = timeout(STORE_TIMEOUT, self.tokens.of(users)).await;
        let late = StoreError::new("push_token.of", StoreErrorKind::Unavailable);
        let read = read.unwrap_or(Err(late))?;
        let mut found: HashMap<UserId, Vec<_>> = HashMap::new();
        for (user, registration) in read {
            if registration.address.provider() == self.sender.provider() {
                let of_user = found.entry(user).or_default();
                of_user.push(Arc::new(registration));
            }
        }
        Ok(found)
    }

    /// Notifies all devices of some users. `Err` if the service or the store fails.
    async fn notify(
        &self,
        part: &[UnseenConversation],
        progress: &mut BatchProgress,
    ) -> Result<(), DeliveryOutcome> {
        let mut users: Vec<UserId> = part.iter().map(|it| it.user).collect();
        users.dedup();
        let registrations = self.registrations(&users).await;
        let registrations = registrations.map_err(|error| DeliveryOutcome::Unreachable {
            error: ErrorChain(&error).to_string(),
            retry_after: None,
        })?;
        let mut pending = Vec::new();
        for unseen in part {
            let unseen = Arc::new(unseen.clone());
            for registration in registrations.get(&unseen.user).into_iter().flatten() {
                let send = PendingSend {
                    registration: Arc::clone(registration),
                    unseen: Arc::clone(&unseen),
                };
                if !self.recent.contains(&send.newest()) {
                    pending.push(send);
                }
            }
        }
        let sends = pending.into_iter().map(|send| async move {
            let outcome = self.send(&send).await;
            (send, outcome)
        });
        let mut sends = stream::iter(sends).buffer_unordered(PARALLEL_SENDS);
        while let Some((send, outcome)) = sends.next().await {
            match outcome {
                SendOutcome::Sent | SendOutcome::Gone | SendOutcome::Rejected(_) => {
                    progress.notified.extend(send.messages());
                }
                SendOutcome::Delayed(reason) => progress.delayed = Some(reason),
                SendOutcome::Failed { error, retry_after } => {
                    return Err(DeliveryOutcome::Unreachable { error, retry_after });
                }
            }
        }
        Ok(())
    }

    /// Sends one notification, and does what its outcome demands.
    async fn send(&self, send: &PendingSend) -> SendOutcome {
        let PendingSend {
            registration,
            unseen,
        } = send;
        let (keys, now) = (self.sender.collapse(), self.clock.now());
        let composed = DeviceNotification::compose(unseen, registration, &self.rules, keys, now);
        let Some(notification) = composed else {
            self.counters.count_expired();
            return SendOutcome::Sent;
        };
        let outcome = self.sender.send(registration, &notification).await;
        match &outcome {
            SendOutcome::Sent => self.counters.count_sent(),
            SendOutcome::Gone => self.remove(unseen.user, registration).await,
            SendOutcome::Rejected(error) => {
                self.counters.count_rejected();
                warn_rated!(
                    provider = self.sender.provider().name(),
                    error,
                    "notification rejected by the push service"
                );
            }
            SendOutcome::Delayed(_) | SendOutcome::Failed { .. } => self.counters.count_failed(),
        }
        outcome
    }

    async fn remove(&self, user: UserId, registration: &PushRegistration) {
        let only = Some(registration.address.fingerprint());
        let removed = self.tokens.remove(user, registration.device, only);
        let late = StoreError::new("push_token.remove", StoreErrorKind::Unavailable);
        let removed = timeout(STORE_TIMEOUT, removed).await;
        match removed.unwrap_or(Err(late)) {
            // The client has registered a new address in the meantime.
            Ok(false) => {}
            Ok(true) => {
                self.counters.count_removed();
                info_rated!(
                    provider = self.sender.provider().name(),
                    "push address removed, the push service does not know it any more"
                );
            }
            // The next notification finds it again.
            Err(error) => warn_rated!(error = %ErrorChain(&error), "push address not removed"),
        }
    }
}

#[async_trait]
impl HookEndpoint for PushEndpoint {
    async fn deliver(&self, notifications: &[HookNotification]) -> DeliveryOutcome {
        let mut unseen = Vec::new();
        for notification in notifications {
            match &notification.body {
                NotificationBody::MessageOffline { user, messages } => {
                    unseen.extend(by_conversation(*user, notification.at, messages));
                }
                NotificationBody::Test => {
                    if let Err(error) = self.sender.check().await {
                        return DeliveryOutcome::Unreachable {
                            error,
                            retry_after: None,
                        };
                    }
                }
                // The hook subscribes to no other event.
                _ => {}
            }
        }
        let mut progress = BatchProgress::default();
        let mut outcome = DeliveryOutcome::Delivered;
        for part in unseen.chunks(USERS_PER_CALL) {
            if let Err(failed) = self.notify(part, &mut progress).await {
                outcome = failed;
                break;
            }
        }
        if let (DeliveryOutcome::Delivered, Some(reason)) = (&outcome, progress.delayed) {
            // Not `Failed`: the service works, so the other conversations need not wait.
            outcome = DeliveryOutcome::Refused(reason);
        }
        if outcome != DeliveryOutcome::Delivered {
            self.recent.keep(progress.notified);
        }
        outcome
    }

    fn address(&self) -> String {
        self.sender.address()
    }
}

#[cfg(test)]
mod tests;
