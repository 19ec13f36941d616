//! Access tokens (OAuth 2.0): issued for an assertion that the service account signs (RFC 7523), and
//! kept until shortly before they expire.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use gimlet_core::time::TimeSource;
use gimlet_outbound::{OutboundClient, OutboundResponse};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::answer::retry_after;
use crate::fcm::service_account::ServiceAccount;
use crate::jwt::sign_jwt;
use crate::sender::SendOutcome;

/// The right to send by FCM.
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// Time for which an assertion is valid, the most that Google allows.
const ASSERTION_SECONDS: i64 = 3_600;
/// Time before its end at which a token is replaced.
const RENEW_BEFORE: Duration = Duration::from_mins(5);
/// Time for which a token is kept whatever the server says.
const MAX_TOKEN_TIME: Duration = Duration::from_hours(1);
/// Time between two requests for tokens that failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The access tokens of a service account.
#[derive(Debug)]
pub(crate) struct AccessTokens {
    account: Arc<ServiceAccount>,
    client: OutboundClient,
    clock: Arc<dyn TimeSource>,
    /// A plain mutex: it is held for a few assignments and never over an await.
    state: Mutex<TokenState>,
    /// Held during a request. Sends that need its result wait for it.
    requesting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct TokenState {
    /// The token, with the time at which it is replaced.
    token: Option<(Arc<str>, Instant)>,
    /// The last failure, with its time.
    failure: Option<(SendOutcome, Instant)>,
}

impl std::fmt::Debug for TokenState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenState")
            .field("has_token", &self.token.is_some())
            .finish_non_exhaustive()
    }
}

impl AccessTokens {
    pub(crate) fn new(
        account: Arc<ServiceAccount>,
        client: OutboundClient,
        clock: Arc<dyn TimeSource>,
    ) -> Self {
        Self {
            account,
            client,
            clock,
            state: Mutex::default(),
            requesting: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn account(&self) -> &ServiceAccount {
        &self.account
    }

    /// Returns a token that is valid for some minutes.
    ///
    /// # Errors
    /// The failure of a send that needed it.
    pub(crate) async fn get(&self) -> Result<Arc<str>, SendOutcome> {
        if let Some(known) = self.known() {
            return known;
        }
        let turn = self.requesting.lock().await;
        // The caller before this one may have got it.
        let result = match self.known() {
            Some(known) => known,
            None => self.request().await,
        };
        drop(turn);
        result
    }

    /// Forgets a token that FCM does not accept.
    pub(crate) fn forget(&self, refused: &str) {
        let mut state = self.lock();
        state.token.take_if(|(known, _)| **known == *refused);
    }

    fn known(&self) -> Option<Result<Arc<str>, SendOutcome>> {
        let state = self.lock();
        match (&state.token, &state.failure) {
            (Some((token, until)), _) if *until > Instant::now() => Some(Ok(Arc::clone(token))),
            (_, Some((failure, at))) if at.elapsed() < RETRY_PAUSE => Some(Err(failure.clone())),
            _ => None,
        }
    }

    async fn request(&self) -> Result<Arc<str>, SendOutcome> {
        let result = self.fetch().await;
        let mut state = self.lock();
        match result {
            Ok((token, time)) => {
                let token: Arc<str> = token.into();
                // Half of a short time: a token must live at least as long as a send.
                let kept = time.saturating_sub(RENEW_BEFORE).max(time / 2);
                let until = Instant::now() + kept.min(MAX_TOKEN_TIME);
                state.token = Some((Arc::clone(&token), until));
                state.failure = None;
                Ok(token)
            }
            Err(failure) => {
                state.failure = Some((failure.clone(), Instant::now()));
                Err(failure)
            }
        }
    }

    async fn fetch(&self) -> Result<(String, Duration), SendOutcome> {
        let body = self.assertion().map_err(SendOutcome::failed)?;
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, form)]);
        let answer = self.client.post(&self.account.token_url, headers, body);
        let answer = answer.await;
        let answer = answer.map_err(|error| SendOutcome::failed(error.to_string()))?;
        granted(&answer).map_err(|error| SendOutcome::Failed {
            error,
            retry_after: retry_after(&answer.headers),
        })
    }

    /// Returns the request for a token.
    fn assertion(&self) -> Result<Bytes, &'static str> {
        let account = &self.account;
        let now = self.clock.now().seconds();
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": account.key_id});
        let claims = json!({
            "iss": account.email,
            "scope": SCOPE,
            "aud": account.audience,
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
        });
        let token = sign_jwt(&header, &claims, |text| account.key.sign(text));
        let token = token.map_err(|_| "the assertion for Google could not be signed")?;
        // Letters of base64url and dots need no escapes in a form.
        let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
        Ok(format!("grant_type={grant}&assertion={token}").into())
    }

    fn lock(&self) -> MutexGuard<'_, TokenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the token of an answer, and the time for which it is valid. An error shows only the fields
/// of an answer that explain it: the others could be a token.
fn granted(answer: &OutboundResponse) -> Result<(String, Duration), String> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    if answer.status != StatusCode::OK {
        let reason = text("error_description").or_else(|| text("error"));
        let reason: String = reason.unwrap_or_default().chars().take(200).collect();
        return Err(format!(
            "the token server answered {}: {reason}; check push.fcm.service_account, and the clock \
             of this machine",
            answer.status.as_u16()
        ));
    }
    let seconds = body.get("expires_in").and_then(Value::as_u64);
    match (text("access_token"), seconds) {
        (Some(token), Some(seconds)) if !token.is_empty() => {
            Ok((token.to_owned(), Duration::from_secs(seconds)))
        }
        _ => Err("the token server's answer has no access_token and expires_in".into()),
    }
}
