//! `BusinessBackend` over HTTP: a business server that answers JSON.
//!
//! Two questions: whether a token is valid, and who some users are. Each is a `POST`, signed as
//! webhooks are. Status 401 or 403, or `accepted: false`, refuses a token. Everything else that is not
//! an answer, and an answer that contradicts itself, counts as a failed call, and the log gives the
//! reason: as with a business server over gRPC.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use gimlet_core::business::{BusinessBackend, UserInfo};
use gimlet_core::error::RequestRefusal;
use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::message::UserProfile;
use gimlet_core::time::{TimeSource, UnixTimestamp};
use gimlet_outbound::signature::WebhookSigner;
use gimlet_outbound::{OutboundClient, OutboundError, OutboundResponse, OutboundUrl};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::json_fields::{self, JsonFields};

/// Time limit of a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// Largest answer: 500 users with the largest profiles that gimlet keeps, in JSON.
const ANSWER_MAX_BYTES: usize = 4 << 20;
/// A failing server is logged at most once in this interval.
const WARN_INTERVAL: Duration = Duration::from_secs(30);

/// The parts of a business server over HTTP.
#[derive(Debug)]
pub struct HttpBusinessConfig {
    /// Address of the server.
    pub url: OutboundUrl,
    /// Signs the questions.
    pub signer: WebhookSigner,
}

/// A business server over HTTP.
#[derive(Debug)]
pub struct HttpBusiness {
    client: OutboundClient,
    config: HttpBusinessConfig,
    clock: Arc<dyn TimeSource>,
    failures: AtomicU64,
    state: Mutex<CallFailures>,
}

/// Recent failures.
#[derive(Debug, Default)]
struct CallFailures {
    /// Time of the last warning.
    last_warning: Option<Instant>,
    /// `true` after a warning, until it answers again.
    is_failing: bool,
}

/// Reasons that a call failed.
#[derive(Debug, thiserror::Error)]
enum HttpCallError {
    #[error(transparent)]
    Exchange(#[from] OutboundError),
    #[error("it answered {0}")]
    Status(u16),
    #[error("its answer is not {0}")]
    Malformed(&'static str),
    #[error("its answer is inconsistent: {0}")]
    Inconsistent(String),
}

impl HttpBusiness {
    /// Creates a client of the server.
    #[must_use]
    pub fn new(
        client: &OutboundClient,
        config: HttpBusinessConfig,
        clock: Arc<dyn TimeSource>,
    ) -> Self {
        let client = client.with_timeout(CALL_TIMEOUT);
        Self {
            client: client.with_max_response(ANSWER_MAX_BYTES),
            config,
            clock,
            failures: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// Returns the number of calls that the server did not answer, or answered with invalid data.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    async fn post(&self, question: &Value) -> Result<OutboundResponse, HttpCallError> {
        let body = question.to_string();
        let now = u64::try_from(self.clock.now().seconds()).unwrap_or(0);
        let id = format!("ask_{}", Uuid::now_v7().simple());
        let headers = self.config.signer.sign(&id, now, body.as_bytes());
        let headers: HeaderMap = headers.expect("an id of letters and digits is a header's value");
        let url = &self.config.url;
        Ok(self.client.post_json(url, headers, body.into()).await?)
    }

    /// Asks, and turns a failed call into a refusal.
    async fn ask<T>(
        &self,
        question: &Value,
        read: impl FnOnce(&OutboundResponse) -> Result<T, HttpCallError> + Send,
    ) -> Result<T, RequestRefusal> {
        let answer = self.post(question).await;
        match answer.and_then(|answer| read(&answer)) {
            Ok(answer) => {
                self.note_answer();
                Ok(answer)
            }
            Err(error) => {
                self.note_failure(&error);
                Err(RequestRefusal::Unavailable)
            }
        }
    }

    fn note_answer(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut state.is_failing) {
            tracing::info!(url = %self.config.url, "the business server answers again");
        }
    }

    fn note_failure(&self, error: &HttpCallError) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: Instant| at.elapsed() < WARN_INTERVAL;
        let url = &self.config.url;
        if state.last_warning.is_some_and(is_recent) {
            tracing::debug!(%url, %error, "the business server failed a call");
        } else {
            (state.last_warning, state.is_failing) = (Some(Instant::now()), true);
            tracing::warn!(%url, %error, "the business server fails calls");
        }
    }
}

#[async_trait]
impl BusinessBackend for HttpBusiness {
    async fn auth(
        &self,
        user: UserId,
        device: DeviceId,
        token: &str,
    ) -> Result<(), RequestRefusal> {
        self.auth_for(user, device, token).await.map(|_| ())
    }

    async fn auth_for(
        &self,
        user: UserId,
        device: DeviceId,
        token: &str,
    ) -> Result<Option<Duration>, RequestRefusal> {
        let question = json!({
            "question": "auth",
            "user_id": user.get().to_string(),
            "device_id": device.get().to_string(),
            "token": token,
        });
        match self.ask(&question, read_auth).await? {
            TokenAnswer::Accepted { left } => Ok(left),
            TokenAnswer::Refused => Err(RequestRefusal::Unauthorized(
                "the business server refused the token",
            )),
        }
    }

    async fn users(&self, users: &[UserId]) -> Result<Vec<UserInfo>, RequestRefusal> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let asked: HashSet<_> = users.iter().copied().collect();
        let ids: Vec<_> = asked.iter().map(|user| user.get().to_string()).collect();
        let question = json!({ "question": "get_users", "user_ids": ids });
        self.ask(&question, |answer| read_users(answer, &asked))
            .await
    }
}

fn object(answer: &OutboundResponse) -> Result<JsonFields, HttpCallError> {
    if answer.status != StatusCode::OK {
        return Err(HttpCallError::Status(answer.status.as_u16()));
    }
    json_fields::parse(&answer.body).map_err(HttpCallError::Malformed)
}

/// Answer to `auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenAnswer {
    /// The token is valid, and remains valid for this time if it expires.
    Accepted { left: Option<Duration> },
    /// The token is wrong.
    Refused,
}

/// Reads the answer to `auth`.
fn read_auth(answer: &OutboundResponse) -> Result<TokenAnswer, HttpCallError> {
    if matches!(
        answer.status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    ) {
        return Ok(TokenAnswer::Refused);
    }
    let fields = object(answer)?;
    let accepted = fields.get("accepted").and_then(Value::as_bool);
    let accepted = accepted.ok_or(HttpCallError::Malformed(
        "{\"accepted\": true} or {\"accepted\": false}",
    ))?;
    let left = match fields.get("expires_in") {
        None | Some(Value::Null) => None,
        Some(left) => {
            let left = left.as_u64();
            let wrong = "an object whose expires_in is a number of seconds";
            Some(Duration::from_secs(
                left.ok_or(HttpCallError::Malformed(wrong))?,
            ))
        }
    };
    // A token without a remaining second has expired.
    Ok(if accepted && left != Some(Duration::ZERO) {
        TokenAnswer::Accepted { left }
    } else {
        TokenAnswer::Refused
    })
}

/// Reads the answer to `get_users`, if it is consistent.
fn read_users(
    answer: &OutboundResponse,
    asked: &HashSet<UserId>,
) -> Result<Vec<UserInfo>, HttpCallError> {
    let fields = object(answer)?;
    let users = fields.get("users").and_then(Value::as_array);
    let users = users.ok_or(HttpCallError::Malformed("{\"users\": […]}"))?;
    let mut seen = HashSet::new();
    let read = users.iter().map(|user| {
        let info = read_user(user)?;
        let id = info.user.get();
        if !asked.contains(&info.user) {
            let what = format!("it describes user {id}, which was not requested");
            return Err(HttpCallError::Inconsistent(what));
        }
        if !seen.insert(info.user) {
            let what = format!("it describes user {id} twice");
            return Err(HttpCallError::Inconsistent(what));
        }
        Ok(info)
    });
    read.collect()
}

fn read_user(user: &Value) -> Result<UserInfo, HttpCallError> {
    let wrong = HttpCallError::Malformed("a list of objects with user_id, a text of digits");
    let fields = user.as_object().ok_or(wrong)?;
    let wrong = HttpCallError::Malformed("a list of objects with user_id, a text of digits");
    let id = fields.get("user_id").and_then(json_fields::id);
    let id = id.and_then(UserId::new).ok_or(wrong)?;
    let text = |name, wrong| {
        let text = json_fields::text(fields, name);
        let text = text.map_err(|()| HttpCallError::Malformed(wrong))?;
        Ok::<_, HttpCallError>(text.unwrap_or_default().to_owned())
    };
    let time = |name, wrong| {
        let time = json_fields::time(fields, name);
        let time = time.map_err(|()| HttpCallError::Malformed(wrong))?;
        Ok::<_, HttpCallError>(time.unwrap_or(UnixTimestamp(0)))
    };
    let sex = fields.get("sex").and_then(Value::as_i64).unwrap_or(0);
    Ok(UserInfo {
        user: id,
        profile: UserProfile {
            nickname: text("nickname", "users whose nickname is a text")?,
            avatar_url: text("avatar_url", "users whose avatar_url is a text")?,
            extra: text("extra", "users whose extra is a text")?,
        },
        sex: i32::try_from(sex).unwrap_or(0),
        created_at: time(
            "created_at",
            "users whose created_at is a number of seconds",
        )?,
        updated_at: time(
            "updated_at",
            "users whose updated_at is a number of seconds",
        )?,
    })
}

#[cfg(test)]
mod tests;
