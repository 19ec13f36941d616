//! Web Push (RFC 8030): an encrypted message (RFC 8291) to the push service of a browser, which knows
//! this server by its signature (VAPID, RFC 8292).

mod encryption;
mod host_pauses;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use gimlet_core::push_registry::is_push_host;
use gimlet_core::store::{PushAddress, PushProvider, PushRegistration};
use gimlet_core::time::TimeSource;
use gimlet_outbound::{OutboundClient, OutboundUrl};
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, InvalidHeaderValue};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::answer::{describe, retry_after};
use crate::collapse::CollapseKeys;
use crate::jwt::sign_jwt;
use crate::key::EcSigningKey;
use crate::notification::DeviceNotification;
use crate::sender::{PushSender, SendOutcome};
use encryption::encrypt;
use host_pauses::HostPauses;

/// Time for which a signature is valid; RFC 8292 allows a day.
const SIGNATURE_SECONDS: i64 = 12 * 3_600;

const TTL: HeaderName = HeaderName::from_static("ttl");
const TOPIC: HeaderName = HeaderName::from_static("topic");
const URGENCY: HeaderName = HeaderName::from_static("urgency");

/// Settings of Web Push.
#[derive(Clone, Debug)]
pub struct WebPushSettings {
    /// The key that browsers' subscriptions are bound to.
    pub key: Arc<EcSigningKey>,
    /// Address at which a push service reaches the operator: `mailto:` or `https:`.
    pub contact: String,
    /// Hosts of push services; `*.` at the beginning stands for any labels.
    pub hosts: Vec<String>,
}

/// A client of browsers' push services.
#[derive(Debug)]
pub(crate) struct WebPushSender {
    settings: WebPushSettings,
    client: OutboundClient,
    clock: Arc<dyn TimeSource>,
    /// Hosts that failed a moment ago: a browser's service that fails does not delay the others.
    pauses: HostPauses,
}

impl WebPushSender {
    pub(crate) fn new(
        settings: WebPushSettings,
        client: OutboundClient,
        clock: Arc<dyn TimeSource>,
    ) -> Self {
        Self {
            settings,
            client,
            clock,
            pauses: HostPauses::default(),
        }
    }

    /// Returns the signature for a push service, with the key that it is checked by.
    fn signature(&self, origin: &str) -> Result<String, String> {
        let settings = &self.settings;
        let header = json!({"typ": "JWT", "alg": "ES256"});
        let claims = json!({
            "aud": origin,
            "exp": self.clock.now().seconds() + SIGNATURE_SECONDS,
            "sub": settings.contact,
        });
        let token = sign_jwt(&header, &claims, |text| settings.key.sign(text));
        let token = token.map_err(|_| "the token for Web Push could not be signed")?;
        Ok(format!("vapid t={token}, k={}", settings.key.public_text()))
    }

    async fn post(
        &self,
        url: &OutboundUrl,
        notification: &DeviceNotification,
        body: Bytes,
    ) -> SendOutcome {
        let origin = url.origin();
        if let Some(reason) = self.pauses.reason(&origin) {
            return SendOutcome::Delayed(reason);
        }
        let signature = match self.signature(&origin) {
            Ok(signature) => signature,
            Err(error) => return SendOutcome::failed(error),
        };
        let headers = match headers(&signature, notification) {
            Ok(headers) => headers,
            Err(error) => return SendOutcome::Rejected(error.to_string()),
        };
        let answer = match self.client.post(url, headers, body).await {
            Ok(answer) => answer,
            Err(error) => {
                let reason = error.to_string();
                self.pauses.pause(origin, &reason, None);
                return SendOutcome::Delayed(reason);
            }
        };
        match answer.status {
            status if status.is_success() => SendOutcome::Sent,
            StatusCode::NOT_FOUND | StatusCode::GONE => SendOutcome::Gone,
            StatusCode::TOO_MANY_REQUESTS => {
                let reason = describe(&answer);
                self.pauses
                    .pause(origin, &reason, retry_after(&answer.headers));
                SendOutcome::Delayed(reason)
            }
            status if status.is_server_error() => {
                let reason = describe(&answer);
                self.pauses
                    .pause(origin, &reason, retry_after(&answer.headers));
                SendOutcome::Delayed(reason)
            }
            _ => SendOutcome::Rejected(describe(&answer)),
        }
    }
}

fn headers(
    signature: &str,
    notification: &DeviceNotification,
) -> Result<HeaderMap, InvalidHeaderValue> {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_str(signature)?);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("aes128gcm"));
    let bytes = HeaderValue::from_static("application/octet-stream");
    headers.insert(CONTENT_TYPE, bytes);
    headers.insert(TTL, HeaderValue::from(notification.ttl.as_secs()));
    headers.insert(TOPIC, HeaderValue::from_str(&notification.collapse)?);
    // RFC 8030 names a chat message as the example of this urgency.
    headers.insert(URGENCY, HeaderValue::from_static("normal"));
    Ok(headers)
}

/// Returns the message that the browser's page gets, before its encryption.
fn payload(notification: &DeviceNotification) -> String {
    let mut payload = notification.data_json();
    let title = notification.title.as_str();
    payload.insert("title".into(), title.into());
    if let Some(text) = &notification.text {
        payload.insert("body".into(), text.as_str().into());
    }
    // `tag` of showNotification: the newest of a conversation replaces the others.
    payload.insert("tag".into(), notification.collapse.as_str().into());
    Value::Object(payload).to_string()
}

#[async_trait]
impl PushSender for WebPushSender {
    fn provider(&self) -> PushProvider {
        PushProvider::WebPush
    }

    fn address(&self) -> String {
        self.settings.hosts.join(", ")
    }

    fn collapse(&self) -> &CollapseKeys {
        self.settings.key.collapse()
    }

    async fn send(
        &self,
        registration: &PushRegistration,
        notification: &DeviceNotification,
    ) -> SendOutcome {
        let PushAddress::WebPush {
            endpoint,
            public_key,
            auth_secret,
        } = &registration.address
        else {
            return SendOutcome::Rejected("the address is not one of Web Push".into());
        };
        let Ok(url) = endpoint.parse::<OutboundUrl>() else {
            return SendOutcome::Gone;
        };
        // Checked again: the operator may have removed the host since the registration.
        if !is_push_host(&self.settings.hosts, url.host()) {
            return SendOutcome::Gone;
        }
        // The browser's key is not a point of the curve: nothing can ever be sent to it.
        let Ok(body) = encrypt(&payload(notification), public_key, auth_secret) else {
            return SendOutcome::Gone;
        };
        self.post(&url, notification, body.into()).await
    }

    async fn check(&self) -> Result<(), String> {
        self.signature("https://push.example.net").map(drop)
    }
}

#[cfg(test)]
mod tests;
