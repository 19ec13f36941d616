//! API keys of backends: only their hashes are kept.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::id::ApiKeyId;
use crate::page::ListPage;
use crate::scope::ApiScopes;
use crate::store::StoreError;
use crate::time::UnixTimestamp;

/// A stored API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id, which is made from the hash.
    pub id: ApiKeyId,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// The name that its creator gave it.
    pub name: String,
    /// Its scopes.
    pub scopes: ApiScopes,
    /// Time of creation.
    pub created_at: UnixTimestamp,
    /// Time at which it expires, if it does.
    pub expires_at: Option<UnixTimestamp>,
    /// Time from which on it is revoked. It may be in the future: that of a key that is being
    /// replaced.
    pub revoked_at: Option<UnixTimestamp>,
    /// Time of the last use that was recorded.
    pub used_at: Option<UnixTimestamp>,
}

impl ApiKey {
    /// Returns the time at which the key ends, by expiry or by revocation.
    #[must_use]
    pub fn ends_at(&self) -> Option<UnixTimestamp> {
        let ends = self.expires_at.into_iter().chain(self.revoked_at);
        ends.min()
    }
}

/// Limits of the stored keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiKeyBounds {
    /// Largest number of keys, those that have ended included.
    pub max: usize,
    /// Keys that ended before this time are removed when another one is created.
    pub forget_before: UnixTimestamp,
}

/// Outcome of the creation of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiKeyCreateOutcome {
    /// The key is stored.
    Created,
    /// There is a key with this id; nothing was changed.
    Taken,
    /// There are as many keys as allowed; the key was not stored.
    Full,
}

/// Store of API keys.
#[async_trait]
pub trait ApiKeyStore: Debug + Send + Sync + 'static {
    /// Removes keys that ended long ago, and stores a new key unless its id is taken or there are
    /// too many keys. Creations at the same moment may exceed the number by one each.
    async fn create(
        &self,
        key: &ApiKey,
        bounds: ApiKeyBounds,
    ) -> Result<ApiKeyCreateOutcome, StoreError>;

    /// Returns the key with this id, also one that has ended.
    async fn get(&self, id: ApiKeyId) -> Result<Option<ApiKey>, StoreError>;

    /// Returns up to `limit` keys (at least one) after `after`, ascending by id.
    async fn list(
        &self,
        after: Option<ApiKeyId>,
        limit: usize,
    ) -> Result<ListPage<ApiKey>, StoreError>;

    /// Revokes the key from this time on; `false` if there is no such key. Of two revocations the
    /// earlier one counts.
    async fn revoke(&self, id: ApiKeyId, at: UnixTimestamp) -> Result<bool, StoreError>;

    /// Records uses: each time becomes the later of itself and the one recorded before. Unknown
    /// keys are left out. A lost time does no harm, so it need not be durable when this returns.
    async fn touch(&self, uses: &[(ApiKeyId, UnixTimestamp)]) -> Result<(), StoreError>;
}
