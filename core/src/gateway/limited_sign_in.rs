//! Sign-ins within the limits of wrong tokens, which every entry point shares.

use crate::auth::{SignInFailures, client_address};
use crate::error::RequestRefusal;
use crate::gateway::displaced::was_overtaken;
use crate::gateway::{ClientConnection, ConnectGateway, SignInRequest};

impl ConnectGateway {
    /// Signs a device in as [`sign_in`](Self::sign_in) does, unless its address or its user has had
    /// too many wrong tokens, and counts a wrong one.
    ///
    /// # Errors
    /// [`RequestRefusal::RateLimited`] beyond the limits; otherwise the refusals of `sign_in`.
    pub async fn sign_in_limited(
        &self,
        failures: &SignInFailures,
        request: SignInRequest,
    ) -> Result<ClientConnection, RequestRefusal> {
        let address = request
            .client
            .and_then(|client| client_address(client.ip()));
        let attempt = failures.attempt(address, request.user, request.device, &request.token);
        // A sign-in overtaken by a newer one, or by a revocation, had a valid token: it is not
        // counted as a guess.
        let is_wrong = |refusal: &RequestRefusal| {
            matches!(refusal, RequestRefusal::Unauthorized(_)) && !was_overtaken(refusal)
        };
        let signed_in = self.sign_in(request);
        failures.guard(&attempt, signed_in, is_wrong).await
    }
}
