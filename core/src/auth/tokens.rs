//! Checks clients' tokens: for entry points whose calls carry one each time.
//!
//! Wrong tokens count together with the failed sign-ins of the sockets, so a guesser is refused at
//! every listener. This module does not know what a valid token allows.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::auth::{CheckedJwt, JwtAuthority, SignInFailures, client_address};
use crate::business::BusinessBackend;
use crate::error::RequestRefusal;
use crate::id::{DeviceId, UserId};

/// Time that the business role has to check a token.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// A token as a client presents it, not checked yet.
#[derive(Clone)]
pub struct PresentedToken {
    /// The user.
    pub user: UserId,
    /// The device of the token.
    pub device: DeviceId,
    /// The token, which is never printed.
    pub token: String,
}

impl PresentedToken {
    /// Reads `USER.DEVICE.TOKEN`, the form of a token that names the other two.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let user = UserId::new(number()?)?;
        let device = DeviceId::new(number()?)?;
        let token = parts.next().filter(|token| !token.is_empty())?.to_owned();
        Some(Self {
            user,
            device,
            token,
        })
    }
}

impl fmt::Debug for PresentedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentedToken({}, {})", self.user, self.device)
    }
}

/// Checks tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TokenChecker {
    business: Arc<dyn BusinessBackend>,
    failures: Arc<SignInFailures>,
    jwts: Option<JwtAuthority>,
}

impl TokenChecker {
    /// Checks tokens with this business role, and counts wrong ones in `failures`.
    #[must_use]
    pub fn new(business: Arc<dyn BusinessBackend>, failures: Arc<SignInFailures>) -> Self {
        Self {
            business,
            failures,
            jwts: None,
        }
    }

    /// Also accepts JWTs that come without the ids of a user and a device.
    #[must_use]
    pub fn with_jwts(self, jwts: Option<JwtAuthority>) -> Self {
        Self { jwts, ..self }
    }

    /// Returns the authority over JWTs.
    ///
    /// # Errors
    /// [`RequestRefusal::Unsupported`] if this server accepts none.
    pub fn jwts(&self) -> Result<&JwtAuthority, RequestRefusal> {
        self.jwts.as_ref().ok_or(RequestRefusal::Unsupported(
            "this server accepts no JWTs; configure their keys in the section [auth]",
        ))
    }

    /// Accepts a JWT and returns its user, or refuses it. `from` is the client's address, if the
    /// entry point knows it.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub async fn check_jwt(
        &self,
        from: Option<SocketAddr>,
        token: &str,
    ) -> Result<CheckedJwt, RequestRefusal> {
        let jwts = self
            .jwts
            .as_ref()
            .ok_or(RequestRefusal::Unauthorized("this server accepts no JWTs"))?;
        let claimed = jwts.claimed(token).ok_or(RequestRefusal::Unauthorized(
            "the JWT is malformed, or its sub is not the id of a user",
        ))?;
        let address = from.and_then(|from| client_address(from.ip()));
        let device = claimed.device.unwrap_or(DeviceId::MIN);
        let attempt = self.failures.attempt(address, claimed.user, device, token);
        let checked = async {
            let answer = timeout(CHECK_TIMEOUT, jwts.check(token)).await;
            answer.unwrap_or(Err(RequestRefusal::Unavailable))
        };
        self.failures.guard(&attempt, checked, is_wrong).await
    }

    /// Accepts the token, or refuses it. `from` is the client's address, if the entry point knows it.
    ///
    /// # Errors
    /// [`RequestRefusal::Unauthorized`] for a wrong token, [`RequestRefusal::RateLimited`] after too
    /// many of them, and [`RequestRefusal::Unavailable`] if the business role does not answer.
    pub async fn check(
        &self,
        from: Option<SocketAddr>,
        user: UserId,
        device: DeviceId,
        token: &str,
    ) -> Result<(), RequestRefusal> {
        let address = from.and_then(|from| client_address(from.ip()));
        let attempt = self.failures.attempt(address, user, device, token);
        let checked = async {
            let answer = timeout(CHECK_TIMEOUT, self.business.auth(user, device, token)).await;
            answer.unwrap_or(Err(RequestRefusal::Unavailable))
        };
        self.failures.guard(&attempt, checked, is_wrong).await
    }
}

/// Returns whether the refusal means a wrong token.
const fn is_wrong(refusal: &RequestRefusal) -> bool {
    matches!(refusal, RequestRefusal::Unauthorized(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::business::UserInfo;

    #[derive(Debug)]
    struct OneTokenBusiness;

    #[async_trait::async_trait]
    impl BusinessBackend for OneTokenBusiness {
        async fn auth(&self, _: UserId, _: DeviceId, token: &str) -> Result<(), RequestRefusal> {
            match token {
                "t" | "u" => Ok(()),
                _ => Err(RequestRefusal::Unauthorized("the token is wrong")),
            }
        }

        async fn users(&self, _: &[UserId]) -> Result<Vec<UserInfo>, RequestRefusal> {
            Ok(Vec::new())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_guesses_is_refused_and_who_was_let_in_goes_on() {
        let tokens =
            TokenChecker::new(Arc::new(OneTokenBusiness), Arc::new(SignInFailures::new(3)));
        let (user, device) = (UserId::new(1).unwrap(), DeviceId::new(2).unwrap());
        let check = |token: &'static str| {
            let tokens = tokens.clone();
            let from = Some(SocketAddr::from(([192, 0, 2, 1], 5)));
            async move {
                let checked = tokens.check(from, user, device, token).await;
                checked.map_or_else(|refusal| refusal.code(), |()| 0)
            }
        };
        assert_eq!(check("t").await, 0);
        for _ in 0..3 {
            assert_eq!(check("guess").await, 10_000);
        }
        assert_eq!(
            (check("guess").await, check("u").await),
            (8, 8),
            "from there"
        );
        assert_eq!(check("t").await, 0, "its calls go on");
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(check("u").await, 0);
    }
}
