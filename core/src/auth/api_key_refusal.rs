//! Refusals of API keys.

use crate::error::RequestRefusal;
use crate::id::ApiKeyId;
use crate::scope::{ApiScope, ApiScopes};

/// Reasons a key is not accepted, or not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyRefusal {
    /// There is no such key.
    #[error("the API key is unknown; create another one")]
    Unknown,
    /// The key has expired.
    #[error("the API key has expired; create another one")]
    Expired,
    /// The key was revoked.
    #[error("the API key was revoked; use the one that replaced it")]
    Revoked,
    /// The key does not have the scope that the operation needs.
    #[error(
        "the API key does not have the scope {scope}, it has {}: use a key with {scope}",
        scopes.list()
    )]
    MissingScope {
        /// The scope that is needed.
        scope: ApiScope,
        /// The scopes of the key.
        scopes: ApiScopes,
    },
    /// The key to create would have a scope that its maker does not have.
    #[error(
        "scopes contains {scope}, which the calling key does not have, it has {}: leave {scope} out, \
         or call with a key that has it",
        scopes.list()
    )]
    TooManyRights {
        /// The first scope that the maker lacks.
        scope: ApiScope,
        /// The scopes of the maker.
        scopes: ApiScopes,
    },
    /// The id names no key.
    #[error("API key {0} does not exist; list the keys")]
    NoSuchKey(ApiKeyId),
    /// The call itself was refused.
    #[error(transparent)]
    Refused(#[from] RequestRefusal),
}
