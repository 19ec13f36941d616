//! Checks clients' tokens: for gRPC calls and uploads, which carry one each time.
//!
//! Wrong tokens count together with the failed sign-ins of the sockets, so a guesser is refused at
//! every listener. This module does not know what a valid token allows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gimlet_core::business::BusinessBackend;
use gimlet_core::error::RequestRefusal;
use gimlet_core::id::{DeviceId, UserId};
use gimlet_listen::admission;
use gimlet_transport::SignInFailures;
use tokio::time::timeout;

/// Time that the business role has to check a token.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// Checks tokens.
#[derive(Clone, Debug)]
pub(crate) struct TokenChecker {
    business: Arc<dyn BusinessBackend>,
    failures: Arc<SignInFailures>,
}

impl TokenChecker {
    pub(crate) fn new(business: Arc<dyn BusinessBackend>, failures: Arc<SignInFailures>) -> Self {
        Self { business, failures }
    }

    /// Checks the token with the business role.
    pub(crate) async fn check(
        &self,
        from: Option<SocketAddr>,
        user: UserId,
        device: DeviceId,
        token: &str,
    ) -> Result<(), RequestRefusal> {
        let address = from.and_then(|from| admission::client_address(from.ip()));
        let attempt = self.failures.attempt(address, user, device, token);
        // Before the call, so that a refused guesser costs the business role nothing.
        self.failures.check(&attempt)?;
        let asked = timeout(CHECK_TIMEOUT, self.business.auth(user, device, token)).await;
        let answer = asked.unwrap_or(Err(RequestRefusal::Unavailable));
        match &answer {
            Ok(()) => self.failures.right(&attempt),
            Err(RequestRefusal::Unauthorized(_)) => self.failures.wrong(&attempt),
            Err(_) => {}
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use gimlet_core::business::UserInfo;

    use super::*;

    #[derive(Debug)]
    struct FakeBusiness;

    #[tonic::async_trait]
    impl BusinessBackend for FakeBusiness {
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
        let tokens = TokenChecker::new(Arc::new(FakeBusiness), Arc::new(SignInFailures::new(3)));
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
