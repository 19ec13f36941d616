//! The registry of push addresses: where a device is notified while it is not connected.
//!
//! Holds the rules of registrations. It knows no wire and calls no push service; `gimlet-push` does.

use std::net::IpAddr;
use std::sync::Arc;

use crate::error::RequestRefusal;
use crate::id::{DeviceId, UserId};
use crate::rate::RateLimiter;
use crate::store::{
    DeviceStore, PushAddress, PushProvider, PushRegistration, PushTokenStore, StoreSet,
};
use crate::text_limits;
use crate::time::TimeSource;

/// Largest number of devices of a user that have a push address; beyond it, the registration that
/// was made first ends.
pub const MAX_PUSH_DEVICES: usize = 20;
/// Registrations of a user per minute; more are refused with 8.
const REGISTRATIONS_PER_MINUTE: u32 = 30;
/// Longest device token or URL of a subscription, in bytes.
const TOKEN_MAX_BYTES: usize = 2_048;
/// Longest language tag, in bytes.
const LOCALE_MAX_BYTES: usize = 35;
/// Bytes of an APNs device token, at most; Apple asks not to rely on today's 32.
const APNS_TOKEN_MAX_BYTES: usize = 100;
/// Bytes of an uncompressed point of P-256.
const PUBLIC_KEY_BYTES: usize = 65;
/// First byte of an uncompressed point.
const UNCOMPRESSED_POINT: u8 = 4;
/// Bytes of a browser's authentication secret.
const AUTH_SECRET_BYTES: usize = 16;

/// The push services that this server uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushServices {
    /// Topics (bundle ids) of the apps at APNs, the default first; empty if APNs is not used.
    pub apns_topics: Vec<String>,
    /// True if FCM is used.
    pub has_fcm: bool,
    /// The server's public key for Web Push, in base64url; `None` if Web Push is not used.
    pub webpush_key: Option<String>,
    /// Hosts of browsers' push services; `*.` at the beginning stands for any labels. An entry of
    /// a client's choice would make the server call any host.
    pub webpush_hosts: Vec<String>,
    /// Accepts subscriptions at plain or private addresses, for tests and push services of one's
    /// own.
    pub allow_private: bool,
}

/// A registration as a client requests it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushRequest {
    /// The address; an empty topic means the default one.
    pub address: PushAddress,
    /// True to show the sender's name and the text in notifications.
    pub shows_content: bool,
    /// Language of the notifications; empty for the default one.
    pub locale: String,
}

/// The registry of push addresses. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PushRegistry {
    tokens: Arc<dyn PushTokenStore>,
    devices: Arc<dyn DeviceStore>,
    clock: Arc<dyn TimeSource>,
    services: Arc<PushServices>,
    registrations: Arc<RateLimiter<UserId>>,
}

impl PushRegistry {
    /// Creates the registry over these stores, for these push services.
    #[must_use]
    pub fn new(stores: &StoreSet, clock: Arc<dyn TimeSource>, services: PushServices) -> Self {
        Self {
            tokens: Arc::clone(&stores.push_token),
            devices: Arc::clone(&stores.device),
            clock,
            services: Arc::new(services),
            registrations: Arc::new(RateLimiter::per_minute(REGISTRATIONS_PER_MINUTE)),
        }
    }

    /// Registers the push address of the user on the device. It replaces an earlier one, and takes
    /// the address from the user or device that had it before.
    ///
    /// # Errors
    /// [`RequestRefusal::Unsupported`] if the server does not use the push service, and a refusal
    /// that names the field that is wrong.
    pub async fn register(
        &self,
        user: UserId,
        device: DeviceId,
        request: PushRequest,
    ) -> Result<(), RequestRefusal> {
        self.registrations
            .take(user)
            .map_err(|retry_after| RequestRefusal::RateLimited { retry_after })?;
        let PushRequest {
            address,
            shows_content,
            locale,
        } = request;
        let address = self.services.checked(address)?;
        check_locale(&locale)?;
        if self.devices.get(device).await?.is_none() {
            return Err(RequestRefusal::NoSuchDevice(device));
        }
        let registration = PushRegistration {
            device,
            address,
            shows_content,
            locale,
            registered_at: self.clock.now(),
        };
        let put = self.tokens.put(user, &registration, MAX_PUSH_DEVICES);
        Ok(put.await?)
    }

    /// Removes the push address of the user on the device, if there is one.
    pub async fn remove(&self, user: UserId, device: DeviceId) -> Result<(), RequestRefusal> {
        self.tokens.remove(user, device, None).await?;
        Ok(())
    }

    /// Returns the server's public key for Web Push, which a browser needs to subscribe.
    ///
    /// # Errors
    /// [`RequestRefusal::Unsupported`] if the server does not use Web Push.
    pub fn webpush_key(&self) -> Result<&str, RequestRefusal> {
        let key = self.services.webpush_key.as_deref();
        key.ok_or_else(|| not_used(PushProvider::WebPush))
    }
}

impl PushServices {
    /// Checks an address, and completes it with the default topic.
    fn checked(&self, address: PushAddress) -> Result<PushAddress, RequestRefusal> {
        let provider = address.provider();
        let is_used = match provider {
            PushProvider::Apns => !self.apns_topics.is_empty(),
            PushProvider::Fcm => self.has_fcm,
            PushProvider::WebPush => self.webpush_key.is_some(),
        };
        if !is_used {
            return Err(not_used(provider));
        }
        match address {
            PushAddress::Apns {
                token,
                topic,
                is_sandbox,
            } => Ok(PushAddress::Apns {
                token: apns_token(&token)?,
                topic: self.topic(topic)?,
                is_sandbox,
            }),
            PushAddress::Fcm { token } => {
                check_fcm_token(&token)?;
                Ok(PushAddress::Fcm { token })
            }
            PushAddress::WebPush {
                endpoint,
                public_key,
                auth_secret,
            } => {
                self.check_endpoint(&endpoint)?;
                check_keys(&public_key, &auth_secret)?;
                Ok(PushAddress::WebPush {
                    endpoint,
                    public_key,
                    auth_secret,
                })
            }
        }
    }

    fn topic(&self, topic: String) -> Result<String, RequestRefusal> {
        if topic.is_empty() {
            let first = self.apns_topics.first().cloned();
            return Ok(first.unwrap_or_default());
        }
        if self.apns_topics.contains(&topic) {
            return Ok(topic);
        }
        let known = self.apns_topics.join(", ");
        Err(RequestRefusal::bad(format!(
            "topic is not an app of this server; set it to one of: {known}"
        )))
    }

    fn check_endpoint(&self, endpoint: &str) -> Result<(), RequestRefusal> {
        let wrong = |what: &str| {
            Err(RequestRefusal::bad(format!(
                "endpoint {what}; send the endpoint of the browser's PushSubscription unchanged"
            )))
        };
        text_limits::text("endpoint", endpoint, TOKEN_MAX_BYTES)?;
        // Browsers and libraries read `\\` as `/`, so it would end the host for them and not here.
        let may_stand = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
        if !endpoint.bytes().all(may_stand) {
            return wrong("has characters that a URL cannot have");
        }
        let rest = match endpoint.strip_prefix("https://") {
            Some(rest) => rest,
            None if self.allow_private => endpoint.strip_prefix("http://").unwrap_or_default(),
            None => return wrong("is not an https:// URL"),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let authority = rest.get(..end).unwrap_or_default();
        if authority.is_empty() {
            return wrong("is not a URL with a host");
        }
        if authority.contains('@') || endpoint.contains('#') {
            return wrong("has a user name or a fragment");
        }
        if !self.allow_private && is_local(authority) {
            return wrong("is not at a host name of the internet");
        }
        let host = host_of(authority);
        if !is_push_host(&self.webpush_hosts, host) {
            return Err(RequestRefusal::bad(format!(
                "endpoint is at {host}, not at a push service that this server knows; its operator \
                 can add the host to push.webpush.hosts"
            )));
        }
        Ok(())
    }
}

/// Returns the host of a URL's authority.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Returns whether a host is one of these hosts of push services, or below one that begins with `*.`.
#[must_use]
pub fn is_push_host(hosts: &[String], host: &str) -> bool {
    hosts.iter().any(|entry| {
        let Some(parent) = entry.strip_prefix('*') else {
            return entry.eq_ignore_ascii_case(host);
        };
        let start = host.len().saturating_sub(parent.len());
        let end = host.get(start..).unwrap_or_default();
        start > 0 && end.eq_ignore_ascii_case(parent)
    })
}

/// Returns whether a URL's authority is an IP address or a name of this machine. A name that
/// resolves to a private address is refused when the notification is sent.
fn is_local(authority: &str) -> bool {
    if authority.starts_with('[') {
        return true;
    }
    let host = host_of(authority).trim_end_matches('.');
    let last = host.rsplit('.').next().unwrap_or_default();
    // The last part of an IPv4 address is a number in each of its notations.
    let is_number = last.starts_with(|c: char| c.is_ascii_digit());
    is_number || host.parse::<IpAddr>().is_ok() || last.eq_ignore_ascii_case("localhost")
}

fn not_used(provider: PushProvider) -> RequestRefusal {
    RequestRefusal::Unsupported(match provider {
        PushProvider::Apns => {
            "this server does not send by APNs; its operator can set push.apns.key"
        }
        PushProvider::Fcm => {
            "this server does not send by FCM; its operator can set push.fcm.service_account"
        }
        PushProvider::WebPush => {
            "this server does not send by Web Push; its operator can set push.webpush.key"
        }
    })
}

/// Returns an APNs token in lower case.
fn apns_token(token: &str) -> Result<String, RequestRefusal> {
    let is_hex = token.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_whole = !token.is_empty() && token.len().is_multiple_of(2);
    if !is_hex || !is_whole || token.len() > 2 * APNS_TOKEN_MAX_BYTES {
        return Err(RequestRefusal::bad(format!(
            "token is not an APNs device token; send its bytes as hexadecimal digits, at most {}",
            2 * APNS_TOKEN_MAX_BYTES
        )));
    }
    Ok(token.to_ascii_lowercase())
}

fn check_fcm_token(token: &str) -> Result<(), RequestRefusal> {
    text_limits::text("token", token, TOKEN_MAX_BYTES)?;
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(RequestRefusal::bad(
            "token is not an FCM registration token; send it as Firebase returned it",
        ));
    }
    Ok(())
}

fn check_keys(public_key: &[u8], auth_secret: &[u8]) -> Result<(), RequestRefusal> {
    if public_key.len() != PUBLIC_KEY_BYTES || public_key.first() != Some(&UNCOMPRESSED_POINT) {
        return Err(RequestRefusal::bad(
            "p256dh is not an uncompressed point of P-256 (65 bytes); send keys.p256dh of the \
             browser's PushSubscription",
        ));
    }
    if auth_secret.len() != AUTH_SECRET_BYTES {
        return Err(RequestRefusal::bad(
            "auth is not 16 bytes; send keys.auth of the browser's PushSubscription",
        ));
    }
    Ok(())
}

fn check_locale(locale: &str) -> Result<(), RequestRefusal> {
    text_limits::text("locale", locale, LOCALE_MAX_BYTES)?;
    let is_tag = locale
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !is_tag {
        return Err(RequestRefusal::bad(
            "locale is not a language tag; write it as pt-BR or zh-Hant",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
