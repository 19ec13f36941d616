//! API keys of backends.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;

use crate::id::ApiKeyId;
use crate::memory::helpers::{above, lock, page};
use crate::page::ListPage;
use crate::store::{ApiKey, ApiKeyBounds, ApiKeyCreateOutcome, ApiKeyStore, StoreError};
use crate::time::UnixTimestamp;

/// All keys.
#[derive(Debug, Default)]
pub(super) struct MemoryApiKeys(Mutex<BTreeMap<ApiKeyId, ApiKey>>);

#[async_trait]
impl ApiKeyStore for MemoryApiKeys {
    async fn create(
        &self,
        key: &ApiKey,
        bounds: ApiKeyBounds,
    ) -> Result<ApiKeyCreateOutcome, StoreError> {
        let mut keys = lock(&self.0);
        keys.retain(|_, it| it.ends_at().is_none_or(|at| at >= bounds.forget_before));
        if keys.contains_key(&key.id) {
            return Ok(ApiKeyCreateOutcome::Taken);
        }
        if keys.len() >= bounds.max {
            return Ok(ApiKeyCreateOutcome::Full);
        }
        keys.insert(key.id, key.clone());
        Ok(ApiKeyCreateOutcome::Created)
    }

    async fn get(&self, id: ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        Ok(lock(&self.0).get(&id).cloned())
    }

    async fn list(
        &self,
        after: Option<ApiKeyId>,
        limit: usize,
    ) -> Result<ListPage<ApiKey>, StoreError> {
        let keys = lock(&self.0);
        let following = keys.range(above(after)).map(|(_, key)| key.clone());
        Ok(page(following, limit))
    }

    async fn revoke(&self, id: ApiKeyId, at: UnixTimestamp) -> Result<bool, StoreError> {
        let mut keys = lock(&self.0);
        let Some(key) = keys.get_mut(&id) else {
            return Ok(false);
        };
        key.revoked_at = Some(key.revoked_at.map_or(at, |before| before.min(at)));
        Ok(true)
    }

    async fn touch(&self, uses: &[(ApiKeyId, UnixTimestamp)]) -> Result<(), StoreError> {
        let mut keys = lock(&self.0);
        for (id, at) in uses {
            if let Some(key) = keys.get_mut(id) {
                key.used_at = key.used_at.max(Some(*at));
            }
        }
        Ok(())
    }
}
