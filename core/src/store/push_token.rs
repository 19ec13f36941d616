//! Addresses of devices at push services: where a sleeping device is notified of a message.

use std::fmt;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use crate::id::{DeviceId, UserId};
use crate::store::StoreError;
use crate::time::UnixTimestamp;

/// Services that notify devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PushProvider {
    /// Apple Push Notification service.
    Apns,
    /// Firebase Cloud Messaging.
    Fcm,
    /// The push service of a browser (RFC 8030).
    WebPush,
}

impl PushProvider {
    /// All providers.
    pub const ALL: [Self; 3] = [Self::Apns, Self::Fcm, Self::WebPush];

    /// Returns the name in the API, in settings and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Apns => "apns",
            Self::Fcm => "fcm",
            Self::WebPush => "webpush",
        }
    }
}

/// The address of a device at a push service. It lets its holder notify the device, so its debug
/// output shows the provider and a part of the fingerprint only.
#[derive(Clone, PartialEq, Eq)]
pub enum PushAddress {
    /// A device of Apple.
    Apns {
        /// The device token, in hexadecimal digits.
        token: String,
        /// The topic: the app's bundle id.
        topic: String,
        /// True for an app that was signed for development.
        is_sandbox: bool,
    },
    /// An app that is registered with Firebase.
    Fcm {
        /// The registration token.
        token: String,
    },
    /// The subscription of a browser.
    WebPush {
        /// URL of the push resource.
        endpoint: String,
        /// The browser's key for message encryption: an uncompressed point of P-256, 65 bytes.
        public_key: Vec<u8>,
        /// The browser's secret for message authentication, 16 bytes.
        auth_secret: Vec<u8>,
    },
}

impl PushAddress {
    /// Returns the service.
    #[must_use]
    pub const fn provider(&self) -> PushProvider {
        match self {
            Self::Apns { .. } => PushProvider::Apns,
            Self::Fcm { .. } => PushProvider::Fcm,
            Self::WebPush { .. } => PushProvider::WebPush,
        }
    }

    /// Returns the device token, or the URL of the subscription.
    #[must_use]
    pub fn token(&self) -> &str {
        match self {
            Self::Apns { token, .. } | Self::Fcm { token } => token,
            Self::WebPush { endpoint, .. } => endpoint,
        }
    }

    /// Returns the SHA-256 of the provider and the token. Two addresses with the same fingerprint
    /// reach the same installation of an app.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.provider().name());
        hash.update(b":");
        hash.update(self.token());
        hash.finalize().into()
    }
}

impl fmt::Debug for PushAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third, ..] = self.fingerprint();
        let name = self.provider().name();
        write!(f, "{name}({first:02x}{second:02x}{third:02x}…)")
    }
}

/// The push address of a user on a device, with what the client wants to be shown there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushRegistration {
    /// The device.
    pub device: DeviceId,
    /// The address.
    pub address: PushAddress,
    /// True if notifications contain the sender's name and the text of a message; otherwise they
    /// tell only that there is a message.
    pub shows_content: bool,
    /// Language of the notifications (BCP 47), for example `pt-BR`; empty for the default one.
    pub locale: String,
    /// Time of the registration.
    pub registered_at: UnixTimestamp,
}

/// Store of push addresses.
///
/// An address belongs to at most one user on one device: it identifies an installation of an app,
/// and notifying a user there who has handed the installation to another would show one user's
/// messages to the other.
#[async_trait]
pub trait PushTokenStore: fmt::Debug + Send + Sync + 'static {
    /// Sets the push address of this user on this device, in one step with all that follows from
    /// it: an earlier address of the user on the device is replaced; the same address of another
    /// user or device is removed; and of more than `max_devices` devices of the user, those that
    /// registered first are removed.
    async fn put(
        &self,
        user: UserId,
        registration: &PushRegistration,
        max_devices: usize,
    ) -> Result<(), StoreError>;

    /// Returns the registrations of these users, by ascending user and device id. The caller bounds
    /// the number of users; each has as many registrations as `put` allows.
    async fn of(&self, users: &[UserId]) -> Result<Vec<(UserId, PushRegistration)>, StoreError>;

    /// Removes the push address of this user on this device, and returns whether there was one.
    /// With `only`, it is removed only if it has this fingerprint: a client may have registered a
    /// new address while the provider refused the old one.
    async fn remove(
        &self,
        user: UserId,
        device: DeviceId,
        only: Option<[u8; 32]>,
    ) -> Result<bool, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_does_not_show_the_address() {
        let address = PushAddress::WebPush {
            endpoint: "https://push.example.net/secret-path".into(),
            public_key: vec![4; 65],
            auth_secret: vec![7; 16],
        };
        let shown = format!("{address:?}");
        assert!(shown.starts_with("webpush("), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_fingerprint_tells_providers_and_tokens_apart_and_nothing_else() {
        let apns = |token: &str, is_sandbox| PushAddress::Apns {
            token: token.into(),
            topic: "com.example".into(),
            is_sandbox,
        };
        let fcm = PushAddress::Fcm { token: "aa".into() };
        assert_eq!(
            apns("aa", true).fingerprint(),
            apns("aa", false).fingerprint()
        );
        assert_ne!(apns("aa", true).fingerprint(), fcm.fingerprint());
        assert_ne!(
            apns("aa", true).fingerprint(),
            apns("ab", true).fingerprint()
        );
    }
}
