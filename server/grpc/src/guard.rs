//! Authenticates callers: clients by their token, backends by the shared secret.
//!
//! A guard is in front of one service. It puts the [`SignedInCaller`] beside the request, so a
//! handler never sees metadata.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use gimlet_core::auth::{PresentedToken, SharedSecret, TokenChecker};
use gimlet_core::error::RequestRefusal;
use gimlet_core::id::{DeviceId, UserId};
use http::{HeaderMap, Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::server::TcpConnectInfo;

use crate::status::status;
use gimlet_cluster::WRONG_SECRET_HEADER;

/// Methods that need no sign-in.
const OPEN_METHODS: [&str; 3] = [
    "/pb.LogicExt/RegisterDevice",
    "/pb.BusinessExt/SignIn",
    "/pb.UserExt/SignIn",
];

/// A signed-in client.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignedInCaller {
    /// The user.
    pub(super) user: UserId,
    /// The device that the call comes from.
    pub(super) device: DeviceId,
    /// The metadata `request_id`, if it is a number.
    pub(super) request_id: Option<i64>,
}

impl SignedInCaller {
    /// The caller of a guarded request.
    pub(super) fn of<T>(request: &tonic::Request<T>) -> Result<Self, Status> {
        let refused = || status(RequestRefusal::Unauthorized("no user"));
        request
            .extensions()
            .get::<Self>()
            .copied()
            .ok_or_else(refused)
    }
}

/// Credentials that a guard checks.
#[derive(Clone, Debug)]
pub(super) enum CallAuth {
    /// `user_id`, `device_id` and `token`, as gim's clients send them.
    Clients(TokenChecker),
    /// `authorization: Bearer SECRET`, if a secret is configured.
    Backends(Option<SharedSecret>),
}

impl CallAuth {
    async fn check(
        &self,
        path: &str,
        from: Option<SocketAddr>,
        headers: &HeaderMap,
    ) -> Result<Option<SignedInCaller>, RequestRefusal> {
        match self {
            Self::Clients(_) if OPEN_METHODS.contains(&path) => Ok(None),
            Self::Clients(tokens) => {
                let (caller, token) = identify(headers)?;
                tokens
                    .check(from, caller.user, caller.device, token)
                    .await?;
                Ok(Some(caller))
            }
            Self::Backends(None) => Ok(None),
            Self::Backends(Some(secret)) => {
                let given = text(headers, "authorization")
                    .and_then(|value| value.strip_prefix("Bearer "))
                    .unwrap_or_default();
                if secret.matches(given) {
                    Ok(None)
                } else {
                    Err(RequestRefusal::Unauthorized(
                        "internal services need the metadata authorization: Bearer and the \
                         cluster's secret",
                    ))
                }
            }
        }
    }
}

/// Returns the token that a call carries where none is needed, without checking it: gim's clients
/// also send what they have with `SignIn`.
pub(super) fn presented(metadata: &tonic::metadata::MetadataMap) -> Option<PresentedToken> {
    let (caller, token) = identify(metadata.as_ref()).ok()?;
    Some(PresentedToken {
        user: caller.user,
        device: caller.device,
        token: token.to_owned(),
    })
}

/// Returns the token of a call; empty if it carries none.
pub(super) fn token(metadata: &tonic::metadata::MetadataMap) -> &str {
    text(metadata.as_ref(), "token").unwrap_or_default()
}

fn identify(headers: &HeaderMap) -> Result<(SignedInCaller, &str), RequestRefusal> {
    let number = |name| text(headers, name).and_then(|value| value.parse::<i64>().ok());
    let user = number("user_id").and_then(UserId::from_wire);
    let user = user.ok_or(RequestRefusal::Unauthorized(
        "the metadata user_id is missing or not an id",
    ))?;
    let device = number("device_id").and_then(DeviceId::from_wire);
    let device = device.ok_or(RequestRefusal::Unauthorized(
        "the metadata device_id is missing or not an id",
    ))?;
    let token = text(headers, "token");
    let token = token.ok_or(RequestRefusal::Unauthorized(
        "the metadata token is missing",
    ))?;
    let request_id = number("request_id");
    Ok((
        SignedInCaller {
            user,
            device,
            request_id,
        },
        token,
    ))
}

/// Returns the metadata of this name, or of the same name with hyphens: proxies (nginx by default)
/// drop headers with underscores.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let found = headers.get(name).or_else(|| {
        let hyphens = match name {
            "user_id" => "user-id",
            "device_id" => "device-id",
            "request_id" => "request-id",
            _ => return None,
        };
        headers.get(hyphens)
    });
    found?.to_str().ok()
}

/// A service behind its gate.
#[derive(Clone, Debug)]
pub(super) struct AuthGuard<S> {
    inner: S,
    gate: CallAuth,
}

impl<S> AuthGuard<S> {
    pub(super) const fn new(inner: S, gate: CallAuth) -> Self {
        Self { inner, gate }
    }
}

impl<S: NamedService> NamedService for AuthGuard<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> tower::Service<Request<Body>> for AuthGuard<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let gate = self.gate.clone();
        // `poll_ready` was called on the original, so the original must serve this call; the clone
        // takes its place.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        Box::pin(async move {
            let from = request.extensions().get::<TcpConnectInfo>();
            let from = from.and_then(TcpConnectInfo::remote_addr);
            let (path, headers) = (request.uri().path(), request.headers());
            match gate.check(path, from, headers).await {
                Ok(caller) => {
                    if let Some(caller) = caller {
                        request.extensions_mut().insert(caller);
                    }
                    inner.call(request).await
                }
                Err(refusal) => {
                    let mut answer = status(refusal).into_http();
                    if matches!(gate, CallAuth::Backends(_)) {
                        // Marks that the secret was wrong, so that a node does not take the refusal
                        // for one of a user's token.
                        let value = http::HeaderValue::from_static("1");
                        answer.headers_mut().insert(WRONG_SECRET_HEADER, value);
                    }
                    Ok(answer)
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, value.parse().unwrap())
        });
        pairs.collect()
    }

    #[test]
    fn a_caller_is_the_triple_and_says_what_is_missing() {
        let whole = headers(&[
            ("user_id", "7"),
            ("device_id", "8"),
            ("token", "t"),
            ("request_id", "9"),
        ]);
        let (caller, token) = identify(&whole).unwrap();
        assert_eq!((caller.user.get(), caller.device.get()), (7, 8));
        assert_eq!((token, caller.request_id), ("t", Some(9)));
        let hyphens = headers(&[
            ("user-id", "7"),
            ("device-id", "8"),
            ("token", "t"),
            ("request-id", "9"),
        ]);
        let (same, _) = identify(&hyphens).unwrap();
        assert_eq!((same.user.get(), same.request_id), (7, Some(9)));
        let cases = [
            (headers(&[]), "user_id"),
            (headers(&[("user_id", "0")]), "user_id"),
            (headers(&[("user_id", "x")]), "user_id"),
            (headers(&[("user_id", "1")]), "device_id"),
            (
                headers(&[("user_id", "1"), ("device_id", "-1")]),
                "device_id",
            ),
            (headers(&[("user_id", "1"), ("device_id", "1")]), "token"),
        ];
        for (wrong, named) in cases {
            let refusal = identify(&wrong).unwrap_err();
            assert_eq!(refusal.code(), 10000);
            assert!(refusal.to_string().contains(named), "{refusal}");
        }
    }

    #[tokio::test]
    async fn a_backend_needs_the_secret_if_there_is_one() {
        let gate = CallAuth::Backends(Some(SharedSecret::new("s3")));
        let check = |value| {
            let (gate, headers) = (gate.clone(), headers(&[("authorization", value)]));
            async move {
                let checked = gate.check("/pb.LogicInt/Sync", None, &headers);
                checked.await.is_ok()
            }
        };
        assert!(check("Bearer s3").await);
        assert!(!check("Bearer s4").await);
        assert!(!check("s3").await);
        let open = CallAuth::Backends(None);
        assert!(
            open.check("/pb.LogicInt/Sync", None, &HeaderMap::new())
                .await
                .is_ok()
        );
    }
}
