//! `BusinessBackend` over gim's `BusinessInt`: the client for a business role in another process,
//! served by gimlet or by a third-party backend.
//!
//! Code 10000 (and gRPC's own 16, for servers that cannot send 10000) refuses a token. Everything
//! else that is not an answer, and an answer that contradicts itself, counts as a failed call, and
//! the log gives the reason.

use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use gimlet_core::business::{BusinessBackend, UserInfo};
use gimlet_core::error::RequestRefusal;
use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::message::UserProfile;
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::pb;
use gimlet_proto::pb::business_int_client::BusinessIntClient;
use tokio::time::{Instant, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request, Response, Status};

use super::call::{self, NodeCredentials};
use super::raw_status::{self, RawStatus};

/// Time limit of a call with all its attempts.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// Time limit of one attempt while there is another server to ask.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1_200);
/// A server that failed is asked last for this long.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(2);
/// A failing server is logged at most once in this interval; the other failures are counted.
const WARN_INTERVAL: Duration = Duration::from_secs(30);
/// gim's code of a refused token.
const UNAUTHORIZED_CODE: i32 = 10_000;
/// Metadata that gimlet's own guard sets when the secret was wrong, which says nothing about the
/// token.
pub const WRONG_SECRET_HEADER: &str = "gimlet-wrong-secret";

type BusinessClient = BusinessIntClient<RawStatus>;

/// `BusinessBackend` over gRPC.
#[derive(Debug)]
pub struct RemoteBusiness {
    servers: Vec<BusinessServer>,
    next_server: AtomicUsize,
    failures: AtomicU64,
    authorization: Option<MetadataValue<Ascii>>,
}

#[derive(Debug)]
struct BusinessServer {
    address: String,
    client: BusinessClient,
    state: Mutex<ServerFailures>,
}

/// Recent failures of a server.
#[derive(Debug, Default)]
struct ServerFailures {
    /// End of the time in which it is asked last, after a failure.
    resting: Option<Instant>,
    /// Time of the last warning about it.
    logged_at: Option<Instant>,
    /// `true` after a warning, until it answers again.
    out: bool,
}

/// Reasons a call to a business server failed.
#[derive(Debug, thiserror::Error)]
enum BusinessCallError {
    #[error("it did not answer in time")]
    Late,
    #[error("it answered {}: {}", raw_status::code(.0), .0.message())]
    Status(Status),
    #[error("it refused the cluster's secret: set the same GIMLET_CLUSTER__SECRET on both")]
    Secret,
    #[error("{0}")]
    Inconsistent(String),
}

impl RemoteBusiness {
    /// Creates a client that asks the servers at these addresses in turn.
    ///
    /// # Errors
    /// An address is not valid.
    pub fn new(
        addresses: &[String],
        caller: &NodeCredentials,
    ) -> Result<Self, tonic::transport::Error> {
        let servers = addresses.iter().map(|address| {
            let channel = RawStatus(caller.plain(address)?);
            Ok(BusinessServer {
                address: address.clone(),
                client: BusinessIntClient::new(channel)
                    .max_decoding_message_size(call::MESSAGE_MAX_BYTES),
                state: Mutex::default(),
            })
        });
        Ok(Self {
            servers: servers.collect::<Result<_, tonic::transport::Error>>()?,
            next_server: AtomicUsize::new(0),
            failures: AtomicU64::new(0),
            authorization: caller.authorization(),
        })
    }

    /// Returns the number of calls that a server did not answer, or answered with invalid data.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn request<T>(&self, body: T) -> Request<T> {
        let mut request = Request::new(body);
        if let Some(authorization) = &self.authorization {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", authorization.clone());
        }
        request
    }

    /// Returns all servers in rotation; those that failed a moment ago come last.
    fn order(&self) -> Vec<&BusinessServer> {
        let turn = self.next_server.fetch_add(1, Ordering::Relaxed) % self.servers.len().max(1);
        let (after, before) = self.servers.split_at(turn);
        let mut order: Vec<&BusinessServer> = before.iter().chain(after).collect();
        let now = Instant::now();
        order.sort_by_key(|server| server.is_resting(now));
        order
    }

    /// Asks one server after the other until one answers. Both calls are safe to repeat.
    async fn ask<T, F>(
        &self,
        what: &str,
        call: impl Fn(BusinessClient) -> F + Send + Sync,
    ) -> Result<T, RequestRefusal>
    where
        F: Future<Output = Result<Result<T, RequestRefusal>, BusinessCallError>> + Send,
        T: Send,
    {
        let end = Instant::now() + CALL_TIMEOUT;
        let mut left = self.servers.len();
        for server in self.order() {
            left -= 1;
            let now = Instant::now();
            // Only the last server may use all of the remaining time: before that a silent server
            // must leave enough for the next one.
            let until = if left == 0 {
                end
            } else {
                end.min(now + ATTEMPT_TIMEOUT)
            };
            if until <= now {
                break;
            }
            let asked = timeout_at(until, call(server.client.clone())).await;
            match asked.unwrap_or(Err(BusinessCallError::Late)) {
                Ok(answer) => {
                    server.answers();
                    return answer;
                }
                Err(trouble) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    server.fails(what, &trouble);
                }
            }
        }
        Err(RequestRefusal::Unavailable)
    }
}

impl BusinessServer {
    fn is_resting(&self, now: Instant) -> bool {
        self.state().resting.is_some_and(|until| now < until)
    }

    fn answers(&self) {
        let mut state = self.state();
        state.resting = None;
        if std::mem::take(&mut state.out) {
            let address = &self.address;
            tracing::info!(address, "the business server answers again");
        }
    }

    fn fails(&self, what: &str, trouble: &BusinessCallError) {
        let (address, now) = (&self.address, Instant::now());
        let mut state = self.state();
        state.resting = Some(now + REST_AFTER_FAILURE);
        let lately = state
            .logged_at
            .is_some_and(|logged_at| now < logged_at + WARN_INTERVAL);
        if lately {
            tracing::debug!(address, what, %trouble, "the business server failed a call");
        } else {
            (state.logged_at, state.out) = (Some(now), true);
            tracing::warn!(address, what, %trouble, "the business server fails calls");
        }
    }

    fn state(&self) -> MutexGuard<'_, ServerFailures> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Metadata of an answer to `Auth`: the remaining validity of the token, in milliseconds.
pub const TOKEN_LEFT_HEADER: &str = "token-left-ms";

fn token_left<T>(answer: &Response<T>) -> Option<Duration> {
    let left = answer.metadata().get(TOKEN_LEFT_HEADER)?.to_str().ok()?;
    Some(Duration::from_millis(left.parse().ok()?))
}

/// Sorts an answer: a refused token is an answer, every other failure is a failed call.
fn answered<T>(
    answer: Result<Response<T>, Status>,
) -> Result<Result<T, RequestRefusal>, BusinessCallError> {
    let status = match answer {
        Ok(body) => return Ok(Ok(body.into_inner())),
        Err(status) => status,
    };
    if status.metadata().contains_key(WRONG_SECRET_HEADER) {
        return Err(BusinessCallError::Secret);
    }
    let code = raw_status::code(&status);
    if code == UNAUTHORIZED_CODE || code == Code::Unauthenticated as i32 {
        return Ok(Err(RequestRefusal::Unauthorized(
            "the business server refused the token",
        )));
    }
    Err(BusinessCallError::Status(status))
}

/// Converts the users of an answer, if it is consistent.
fn users_in(
    users: HashMap<i64, pb::User>,
    asked: &HashSet<i64>,
) -> Result<Vec<UserInfo>, BusinessCallError> {
    let known = users.into_iter().map(|(key, user)| {
        let invalid_answer = |what: &str| {
            BusinessCallError::Inconsistent(format!("its answer is inconsistent: {what}"))
        };
        if user.user_id != 0 && user.user_id != key {
            return Err(invalid_answer(&format!(
                "under the key {key} it describes user {}",
                user.user_id
            )));
        }
        if !asked.contains(&key) {
            return Err(invalid_answer(&format!(
                "it describes user {key}, which was not requested"
            )));
        }
        let id = UserId::from_wire(key)
            .ok_or_else(|| invalid_answer(&format!("{key} is not a user id")))?;
        Ok(UserInfo {
            user: id,
            profile: UserProfile {
                nickname: user.nickname,
                avatar_url: user.avatar_url,
                extra: user.extra,
            },
            sex: user.sex,
            created_at: seconds(user.create_time),
            updated_at: seconds(user.update_time),
        })
    });
    known.collect()
}

const fn seconds(seconds: i64) -> UnixTimestamp {
    UnixTimestamp(seconds.saturating_mul(1_000))
}

#[async_trait]
impl BusinessBackend for RemoteBusiness {
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
        self.ask("Auth", |mut client| {
            let request = self.request(pb::AuthReq {
                user_id: user.to_wire(),
                device_id: device.to_wire(),
                token: token.to_owned(),
            });
            async move {
                let answer = client.auth(request).await;
                let left = answer.as_ref().ok().and_then(token_left);
                Ok(answered(answer)?.map(|_| left))
            }
        })
        .await
    }

    async fn users(&self, users: &[UserId]) -> Result<Vec<UserInfo>, RequestRefusal> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let asked: HashSet<i64> = users.iter().map(|user| user.to_wire()).collect();
        self.ask("GetUsers", |mut client| {
            let asked = &asked;
            let request = self.request(pb::GetUsersReq {
                user_ids: asked.iter().map(|user| (*user, 0)).collect(),
            });
            async move {
                match client.get_users(request).await {
                    Ok(answer) => Ok(Ok(users_in(answer.into_inner().users, asked)?)),
                    Err(status) if status.metadata().contains_key(WRONG_SECRET_HEADER) => {
                        Err(BusinessCallError::Secret)
                    }
                    Err(status) => Err(BusinessCallError::Status(status)),
                }
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: i64) -> pb::User {
        pb::User {
            user_id: id,
            nickname: "n".into(),
            create_time: 5,
            ..pb::User::default()
        }
    }

    #[test]
    fn an_answer_that_contradicts_itself_is_none() {
        let asked = HashSet::from([1, 2]);
        let read = |key, id| users_in(HashMap::from([(key, user(id))]), &asked);
        assert_eq!(read(1, 1).unwrap()[0].created_at, UnixTimestamp(5_000));
        assert_eq!(read(2, 0).unwrap()[0].user.get(), 2);
        let swapped = read(1, 2).unwrap_err().to_string();
        assert!(
            swapped.contains("under the key 1") && swapped.contains("user 2"),
            "{swapped}"
        );
        assert!(
            read(3, 3)
                .unwrap_err()
                .to_string()
                .contains("not requested")
        );
    }
}
