//! Backends after the check of their key: their scopes, and their name in the log.

use std::fmt;

use crate::auth::api_key_refusal::ApiKeyRefusal;
use crate::id::ApiKeyId;
use crate::scope::{ApiScope, ApiScopes};

/// Target of the log lines about changes by backends, for the filters of a subscriber.
pub const AUDIT_TARGET: &str = "gimlet::audit";

/// The program or person that calls as a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendIdentity {
    /// A program with a key of the configuration, which has all scopes.
    ConfiguredKey,
    /// A program with a key that was created at run time.
    CreatedKey {
        /// The key.
        id: ApiKeyId,
        /// Its scopes.
        scopes: ApiScopes,
    },
    /// The operator, by a command on the server's machine.
    Operator,
}

impl BackendIdentity {
    /// Returns its scopes.
    #[must_use]
    pub const fn scopes(self) -> ApiScopes {
        match self {
            Self::ConfiguredKey | Self::Operator => ApiScopes::ADMIN,
            Self::CreatedKey { scopes, .. } => scopes,
        }
    }

    /// Checks that it may do what needs `scope`.
    ///
    /// # Errors
    /// Its key does not have the scope.
    pub fn require(self, scope: ApiScope) -> Result<(), ApiKeyRefusal> {
        let scopes = self.scopes();
        if scopes.allow(scope) {
            return Ok(());
        }
        Err(ApiKeyRefusal::MissingScope { scope, scopes })
    }

    /// Checks that it may create a key with these scopes: a key cannot create one with a scope that it
    /// does not have itself.
    ///
    /// # Errors
    /// It lacks one of the scopes.
    pub fn may_grant(self, granted: ApiScopes) -> Result<(), ApiKeyRefusal> {
        let scopes = self.scopes();
        match granted.iter().find(|scope| !scopes.allow(*scope)) {
            Some(scope) => Err(ApiKeyRefusal::TooManyRights { scope, scopes }),
            None => Ok(()),
        }
    }
}

impl fmt::Display for BackendIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConfiguredKey => f.write_str("http.api_keys"),
            Self::CreatedKey { id, .. } => write!(f, "key {id}"),
            Self::Operator => f.write_str("operator"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(names: &str) -> BackendIdentity {
        BackendIdentity::CreatedKey {
            id: ApiKeyId::new(7).unwrap(),
            scopes: ApiScopes::of_text(names),
        }
    }

    #[test]
    fn a_missing_scope_is_named_beside_those_that_the_key_has() {
        let backend = with("messages:send users:read");
        assert_eq!(backend.require(ApiScope::UsersRead), Ok(()));
        let refused = backend.require(ApiScope::UsersWrite).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the API key does not have the scope users:write, it has messages:send, users:read: use a key \
             with users:write"
        );
        for all in [BackendIdentity::ConfiguredKey, BackendIdentity::Operator] {
            assert_eq!(all.require(ApiScope::Admin), Ok(()));
        }
    }

    #[test]
    fn nobody_grants_more_than_it_has() {
        let backend = with("users:write messages:send");
        for granted in ["users:write", "users:read", "messages:send users:read"] {
            let granted = ApiScopes::of_text(granted);
            assert_eq!(backend.may_grant(granted), Ok(()), "{granted:?}");
        }
        for granted in ["admin", "users:read groups:read", "messages:read"] {
            let refused = backend.may_grant(ApiScopes::of_text(granted)).unwrap_err();
            let text = refused.to_string();
            assert!(
                text.contains("which the calling key does not have"),
                "{text}"
            );
        }
    }
}
