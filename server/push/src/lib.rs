//! Push notifications: a device that is not connected is notified of new messages by APNs, FCM or
//! Web Push.
//!
//! Each service is a hook of its own ([`PushProvider`](gimlet_core::store::PushProvider)) that gets
//! `message.offline`, so the events of a service that fails wait for that service alone. Order,
//! pauses, retries and dead letters are core's (`hook_delivery`); [`PushEndpoint`] finds the devices
//! and composes what they show, and a `PushSender` speaks the protocol of one service. `docs/push.md`
//! describes the whole for operators and clients.

mod answer;
mod apns;
mod collapse;
mod conversation;
mod counters;
mod endpoint;
mod fcm;
#[cfg(test)]
mod fixture;
mod jwt;
mod key;
mod notification;
mod recent_sends;
mod sender;
mod settings;
mod webpush;
mod wording;

pub use apns::ApnsSettings;
pub use counters::{PushCounters, PushCounts};
pub use endpoint::PushEndpoint;
pub use fcm::{FcmSettings, ServiceAccount, ServiceAccountError};
pub use gimlet_outbound::{OutboundPolicy, OutboundUrl};
pub use key::{EcSigningKey, PushKeyError, RsaSigningKey};
pub use notification::NotificationRules;
pub use settings::{ConfiguredPush, PushSettings, hook_name};
pub use webpush::WebPushSettings;
pub use wording::NotificationLanguage;
