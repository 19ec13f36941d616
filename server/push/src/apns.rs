//! Apple Push Notification service: requests over HTTP/2, authorised by a token that is signed with
//! the team's key.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gimlet_core::store::{PushAddress, PushProvider, PushRegistration};
use gimlet_core::time::{TimeSource, UnixTimestamp};
use gimlet_outbound::{OutboundClient, OutboundResponse, OutboundUrl};
use http::header::{AUTHORIZATION, InvalidHeaderValue};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::answer::{describe, failure};
use crate::collapse::CollapseKeys;
use crate::jwt::sign_jwt;
use crate::key::EcSigningKey;
use crate::notification::DeviceNotification;
use crate::sender::{PushSender, SendOutcome};

/// Age at which a token is made anew. APNs refuses tokens older than an hour, and a team that makes
/// them more often than every 20 minutes.
const TOKEN_TIME: Duration = Duration::from_mins(40);
/// Age below which APNs does not allow another token.
const MIN_TOKEN_TIME: Duration = Duration::from_mins(20);

const TOPIC: HeaderName = HeaderName::from_static("apns-topic");
const PUSH_TYPE: HeaderName = HeaderName::from_static("apns-push-type");
const PRIORITY: HeaderName = HeaderName::from_static("apns-priority");
const COLLAPSE_ID: HeaderName = HeaderName::from_static("apns-collapse-id");
const EXPIRATION: HeaderName = HeaderName::from_static("apns-expiration");

/// Settings of APNs.
#[derive(Clone, Debug)]
pub struct ApnsSettings {
    /// The team's key.
    pub key: Arc<EcSigningKey>,
    /// Id of the key.
    pub key_id: String,
    /// Id of the team.
    pub team_id: String,
    /// Topics of the apps; the first is the default one.
    pub topics: Vec<String>,
    /// Address of the service.
    pub url: OutboundUrl,
    /// Address of the service for apps that were signed for development.
    pub sandbox_url: OutboundUrl,
}

/// A signed token, with the time at which it was made, by the monotonic clock.
#[derive(Clone)]
struct ProviderToken {
    text: String,
    made_at: Duration,
}

/// A client of APNs.
pub(crate) struct ApnsSender {
    settings: ApnsSettings,
    client: OutboundClient,
    clock: Arc<dyn TimeSource>,
    /// A plain mutex: it is held for one signature and never over an await.
    token: Mutex<Option<ProviderToken>>,
}

impl std::fmt::Debug for ApnsSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApnsSender")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl ApnsSender {
    pub(crate) fn new(
        settings: ApnsSettings,
        client: OutboundClient,
        clock: Arc<dyn TimeSource>,
    ) -> Self {
        Self {
            settings,
            client,
            clock,
            token: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<ProviderToken>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the token, made anew if it is old.
    fn token(&self) -> Result<ProviderToken, String> {
        let mut token = self.lock();
        let now = self.clock.monotonic();
        match &*token {
            Some(known) if now.saturating_sub(known.made_at) < TOKEN_TIME => {
                return Ok(known.clone());
            }
            _ => {}
        }
        let settings = &self.settings;
        let header = json!({"alg": "ES256", "kid": settings.key_id});
        let claims = json!({"iss": settings.team_id, "iat": self.clock.now().seconds()});
        let text = sign_jwt(&header, &claims, |text| settings.key.sign(text));
        let new_token = ProviderToken {
            text: text.map_err(|_| "the token for APNs could not be signed")?,
            made_at: now,
        };
        Ok(token.insert(new_token).clone())
    }

    /// Forgets a token that APNs calls expired, so that the next send makes another one. Returns
    /// `false` if it is too young: then a clock is wrong, and a new token does not help.
    fn forget(&self, expired: &ProviderToken) -> bool {
        let mut token = self.lock();
        let age = self.clock.monotonic().saturating_sub(expired.made_at);
        if age < MIN_TOKEN_TIME {
            return false;
        }
        token.take_if(|known| known.made_at == expired.made_at);
        true
    }
}

/// Returns the headers of a request.
fn headers(
    token: &ProviderToken,
    topic: &str,
    notification: &DeviceNotification,
) -> Result<HeaderMap, InvalidHeaderValue> {
    let mut headers = HeaderMap::new();
    let bearer = format!("bearer {}", token.text);
    headers.insert(AUTHORIZATION, HeaderValue::from_str(&bearer)?);
    headers.insert(TOPIC, HeaderValue::from_str(topic)?);
    headers.insert(PUSH_TYPE, HeaderValue::from_static("alert"));
    headers.insert(PRIORITY, HeaderValue::from_static("10"));
    let collapse = HeaderValue::from_str(&notification.collapse)?;
    headers.insert(COLLAPSE_ID, collapse);
    let expires = notification.expires_at.seconds();
    headers.insert(EXPIRATION, HeaderValue::from(expires));
    Ok(headers)
}

/// Returns the body of a request.
fn payload(notification: &DeviceNotification) -> Bytes {
    let mut alert = json!({"title": notification.title});
    if let (Some(text), Some(alert)) = (&notification.text, alert.as_object_mut()) {
        alert.insert("body".into(), text.as_str().into());
    }
    let payload = json!({
        "aps": {
            "alert": alert,
            "sound": "default",
            "thread-id": notification.collapse,
            // Lets an extension of the app replace the text by the message that it fetches.
            "mutable-content": 1,
        },
        "gimlet": notification.data_json(),
    });
    payload.to_string().into()
}

/// Returns the reason that APNs gives, and the time since which a token is not valid.
fn reason(answer: &OutboundResponse) -> (String, Option<UnixTimestamp>) {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let reason = body.get("reason").and_then(Value::as_str);
    let since = body.get("timestamp").and_then(Value::as_i64);
    (
        reason.unwrap_or_default().to_owned(),
        since.map(UnixTimestamp),
    )
}

/// Returns the meaning of an answer that is not about the provider token.
fn outcome(answer: &OutboundResponse, registered_at: UnixTimestamp) -> SendOutcome {
    let (reason, since) = reason(answer);
    match (answer.status, reason.as_str()) {
        (StatusCode::OK, _) => SendOutcome::Sent,
        (StatusCode::GONE, _) => {
            // The app may have registered the same token again after APNs noticed its end.
            if since.is_some_and(|since| registered_at > since) {
                SendOutcome::Rejected(describe(answer))
            } else {
                SendOutcome::Gone
            }
        }
        (StatusCode::BAD_REQUEST, "BadDeviceToken" | "DeviceTokenNotForTopic") => SendOutcome::Gone,
        // Apple counts the notifications of each device.
        (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests") => {
            SendOutcome::Delayed(describe(answer))
        }
        (StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE, _) => {
            SendOutcome::Rejected(describe(answer))
        }
        _ => failure(answer),
    }
}

#[async_trait]
impl PushSender for ApnsSender {
    fn provider(&self) -> PushProvider {
        PushProvider::Apns
    }

    fn address(&self) -> String {
        self.settings.url.to_string()
    }

    fn collapse(&self) -> &CollapseKeys {
        self.settings.key.collapse()
    }

    async fn send(
        &self,
        registration: &PushRegistration,
        notification: &DeviceNotification,
    ) -> SendOutcome {
        let PushAddress::Apns {
            token: device,
            topic,
            is_sandbox,
        } = &registration.address
        else {
            return SendOutcome::Rejected("the address is not one of APNs".into());
        };
        let base = if *is_sandbox {
            &self.settings.sandbox_url
        } else {
            &self.settings.url
        };
        let url = format!("{}/3/device/{device}", base.as_str().trim_end_matches('/'));
        let url: OutboundUrl = match url.parse() {
            Ok(url) => url,
            Err(error) => return SendOutcome::Rejected(format!("the device token: {error}")),
        };
        let body = payload(notification);
        // A second time with another token, if the first one has expired on the way.
        for _ in 0..2 {
            let token = match self.token() {
                Ok(token) => token,
                Err(error) => return SendOutcome::failed(error),
            };
            let headers = match headers(&token, topic, notification) {
                Ok(headers) => headers,
                Err(error) => return SendOutcome::Rejected(error.to_string()),
            };
            let answer = match self.client.post(&url, headers, body.clone()).await {
                Ok(answer) => answer,
                Err(error) => return SendOutcome::failed(error.to_string()),
            };
            let has_expired = answer.status == StatusCode::FORBIDDEN
                && reason(&answer).0 == "ExpiredProviderToken";
            if !has_expired {
                return outcome(&answer, registration.registered_at);
            }
            if !self.forget(&token) {
                return SendOutcome::failed(format!(
                    "{}; the token is new, so set the clock of this machine",
                    describe(&answer)
                ));
            }
        }
        SendOutcome::failed("APNs calls every token expired; set the clock of this machine")
    }

    async fn check(&self) -> Result<(), String> {
        self.token().map(drop)
    }
}

#[cfg(test)]
mod tests;
