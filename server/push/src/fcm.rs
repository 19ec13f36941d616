//! Firebase Cloud Messaging, HTTP v1: requests with an access token that Google's token server
//! issues for a service account.

mod access_token;
mod service_account;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use gimlet_core::store::{PushAddress, PushProvider, PushRegistration};
use gimlet_core::time::TimeSource;
use gimlet_outbound::{OutboundClient, OutboundResponse, OutboundUrl};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::answer::{describe, failure};
use crate::collapse::CollapseKeys;
use crate::notification::DeviceNotification;
use crate::sender::{PushSender, SendOutcome};
use access_token::AccessTokens;

pub use service_account::{ServiceAccount, ServiceAccountError};

/// Settings of FCM.
#[derive(Clone, Debug)]
pub struct FcmSettings {
    /// The service account.
    pub account: Arc<ServiceAccount>,
    /// Address of the service.
    pub url: OutboundUrl,
}

/// A client of FCM.
#[derive(Debug)]
pub(crate) struct FcmSender {
    url: OutboundUrl,
    tokens: AccessTokens,
    client: OutboundClient,
}

impl FcmSender {
    /// Creates a client.
    ///
    /// # Errors
    /// The address that follows from the service's address and the project's id is not a URL. The
    /// check of the configuration excludes that.
    pub(crate) fn new(
        settings: &FcmSettings,
        client: OutboundClient,
        clock: Arc<dyn TimeSource>,
    ) -> Result<Self, String> {
        let base = settings.url.as_str().trim_end_matches('/');
        let project = &settings.account.project_id;
        let url = format!("{base}/v1/projects/{project}/messages:send");
        let account = Arc::clone(&settings.account);
        Ok(Self {
            url: url.parse().map_err(|error| format!("{url}: {error}"))?,
            tokens: AccessTokens::new(account, client.clone(), clock),
            client,
        })
    }
}

/// Returns the body of a request.
fn payload(token: &str, notification: &DeviceNotification) -> Bytes {
    let mut shown = json!({"title": notification.title});
    if let (Some(text), Some(shown)) = (&notification.text, shown.as_object_mut()) {
        shown.insert("body".into(), text.as_str().into());
    }
    let (collapse, ttl) = (&notification.collapse, notification.ttl.as_secs());
    let expires = notification.expires_at.seconds();
    let message = json!({
        "message": {
            "token": token,
            "notification": shown,
            "data": notification.data_json(),
            "android": {
                "collapse_key": collapse,
                "priority": "HIGH",
                "ttl": format!("{ttl}s"),
                "notification": {"tag": collapse},
            },
            // For apps on Apple's devices and in browsers that are registered with Firebase.
            "apns": {
                "headers": {
                    "apns-collapse-id": collapse,
                    "apns-expiration": expires.to_string(),
                    "apns-priority": "10",
                },
                "payload": {"aps": {"sound": "default", "thread-id": collapse}},
            },
            "webpush": {
                "headers": {"TTL": ttl.to_string(), "Topic": collapse, "Urgency": "normal"},
            },
        },
    });
    message.to_string().into()
}

/// Returns FCM's own error code, and `true` if the device's token is malformed.
fn error_code(answer: &OutboundResponse) -> (String, bool) {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let details = body.pointer("/error/details").and_then(Value::as_array);
    let (mut code, mut is_about_token) = (String::new(), false);
    for detail in details.into_iter().flatten() {
        if let Some(found) = detail.get("errorCode").and_then(Value::as_str) {
            found.clone_into(&mut code);
        }
        let violations = detail.get("fieldViolations").and_then(Value::as_array);
        let mut fields = violations.into_iter().flatten();
        is_about_token |=
            fields.any(|it| it.get("field").and_then(Value::as_str) == Some("message.token"));
    }
    (code, is_about_token)
}

/// Returns the meaning of an answer that is not about the access token.
fn outcome(answer: &OutboundResponse) -> SendOutcome {
    let (code, is_about_token) = error_code(answer);
    match (answer.status, code.as_str()) {
        (StatusCode::OK, _) => SendOutcome::Sent,
        // The second: the app was registered with another project.
        (StatusCode::NOT_FOUND, "UNREGISTERED") | (StatusCode::FORBIDDEN, "SENDER_ID_MISMATCH") => {
            SendOutcome::Gone
        }
        (StatusCode::BAD_REQUEST, _) if is_about_token => SendOutcome::Gone,
        (StatusCode::BAD_REQUEST, _) => SendOutcome::Rejected(describe(answer)),
        // 404 without the code: the project does not exist, and no device may be removed.
        _ => failure(answer),
    }
}

#[async_trait]
impl PushSender for FcmSender {
    fn provider(&self) -> PushProvider {
        PushProvider::Fcm
    }

    fn address(&self) -> String {
        self.url.to_string()
    }

    fn collapse(&self) -> &CollapseKeys {
        self.tokens.account().key.collapse()
    }

    async fn send(
        &self,
        registration: &PushRegistration,
        notification: &DeviceNotification,
    ) -> SendOutcome {
        let PushAddress::Fcm { token: device } = &registration.address else {
            return SendOutcome::Rejected("the address is not one of FCM".into());
        };
        let body = payload(device, notification);
        // A second time with another token, if the first one was withdrawn.
        for attempt in 0..2 {
            let token = match self.tokens.get().await {
                Ok(token) => token,
                Err(failed) => return failed,
            };
            let bearer = HeaderValue::from_str(&format!("Bearer {token}"));
            let Ok(bearer) = bearer else {
                return SendOutcome::failed("the access token has characters of no header");
            };
            let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
            let answer = self.client.post_json(&self.url, headers, body.clone());
            let answer = match answer.await {
                Ok(answer) => answer,
                Err(error) => return SendOutcome::failed(error.to_string()),
            };
            if answer.status != StatusCode::UNAUTHORIZED || attempt > 0 {
                return outcome(&answer);
            }
            self.tokens.forget(&token);
        }
        SendOutcome::failed("FCM accepts no access token")
    }

    async fn check(&self) -> Result<(), String> {
        match self.tokens.get().await {
            Err(SendOutcome::Failed { error, .. }) => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
