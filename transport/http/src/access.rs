//! Access: the callers that an operation is for, the scope that a key needs, and the check of both.

use gimlet_core::auth::BackendIdentity;
use gimlet_core::scope::ApiScope;

use crate::call::{ApiCall, ApiCaller, backend_only, device_only, unauthorized};
use crate::credentials::{PresentedKey, RequestCredentials, credentials};
use crate::problem::ApiProblem;

/// Callers that an operation is for. Each kind that admits a backend names the scope that its key
/// needs, so an operation without a scope does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OperationAccess {
    /// Everybody.
    Open,
    /// A user, or a backend for a user.
    User(ApiScope),
    /// A user by the token of its device.
    Device,
    /// A user by the token of its device, which the operation itself checks: a connection's sign-in.
    Connection,
    /// A user, or a backend for a user or for itself.
    UserOrBackend(ApiScope),
    /// A backend.
    Backend(ApiScope),
}

impl OperationAccess {
    /// Returns the scope that a key needs; `None` if no key is admitted, or none is needed.
    pub(crate) const fn scope(self) -> Option<ApiScope> {
        match self {
            Self::User(scope) | Self::UserOrBackend(scope) | Self::Backend(scope) => Some(scope),
            Self::Open | Self::Device | Self::Connection => None,
        }
    }

    /// Returns whether a user's token is admitted.
    pub(crate) const fn takes_token(self) -> bool {
        match self {
            Self::User(_) | Self::Device | Self::Connection | Self::UserOrBackend(_) => true,
            Self::Open | Self::Backend(_) => false,
        }
    }

    /// Returns whether nobody but backends is admitted.
    pub(crate) const fn is_for_backends(self) -> bool {
        matches!(self, Self::Backend(_))
    }

    /// Returns whether a backend may name the user that it acts for.
    pub(crate) const fn acts_for_users(self) -> bool {
        matches!(self, Self::User(_) | Self::UserOrBackend(_))
    }

    /// Checks the credentials of a call, and that the operation is for such a caller.
    pub(crate) async fn admit(
        self,
        call: &ApiCall,
        query_token: Option<&str>,
    ) -> Result<ApiCaller, ApiProblem> {
        if self == Self::Open {
            return Ok(ApiCaller::Stranger);
        }
        match credentials(&call.headers, query_token, &call.shared.api.api_keys)? {
            RequestCredentials::Absent => Err(unauthorized()),
            RequestCredentials::Backend(key, user) => {
                // Before the key is checked: no key is admitted, whatever its scopes are, and a node
                // that holds connections only has no store of keys.
                let scope = self.scope().ok_or_else(device_only)?;
                let identity = match key {
                    PresentedKey::Configured => BackendIdentity::ConfiguredKey,
                    PresentedKey::Created(secret) => {
                        call.keys()?.check(call.client, &secret).await?
                    }
                };
                identity.require(scope)?;
                Ok(ApiCaller::Backend { identity, user })
            }
            RequestCredentials::User(it) => match self {
                Self::Backend(_) => Err(backend_only()),
                Self::Connection => Ok(ApiCaller::User(it)),
                _ => {
                    let tokens = call.tokens()?;
                    match it.device {
                        Some(device) => {
                            let checked = tokens.check(call.client, it.user, device, &it.token);
                            checked.await?;
                        }
                        None => drop(tokens.check_jwt(call.client, &it.token).await?),
                    }
                    Ok(ApiCaller::User(it))
                }
            },
        }
    }
}
