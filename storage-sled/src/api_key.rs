//! API keys of backends.

use async_trait::async_trait;
use gimlet_core::id::ApiKeyId;
use gimlet_core::page::ListPage;
use gimlet_core::scope::ApiScopes;
use gimlet_core::store::{ApiKey, ApiKeyBounds, ApiKeyCreateOutcome, ApiKeyStore, StoreError};
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::store;

use crate::error::EngineError;
use crate::space::SpaceEffect;
use crate::store::{SledStore, page};
use crate::txn::WriteTransaction;
use crate::{key, record};

fn api_key(id: ApiKeyId, row: store::ApiKey) -> Result<ApiKey, EngineError> {
    let hash = row.hash.as_ref().try_into();
    Ok(ApiKey {
        id,
        hash: hash.map_err(|_| EngineError::Corrupt("an API key's hash is not 32 bytes"))?,
        name: row.name,
        scopes: ApiScopes::of_text(&row.scopes),
        created_at: UnixTimestamp(row.created_ms),
        expires_at: row.expires_ms.map(UnixTimestamp),
        revoked_at: row.revoked_ms.map(UnixTimestamp),
        used_at: row.used_ms.map(UnixTimestamp),
    })
}

fn record_of(key: &ApiKey) -> store::ApiKey {
    store::ApiKey {
        hash: key.hash.to_vec().into(),
        name: key.name.clone(),
        scopes: key.scopes.text(),
        created_ms: record::ms(key.created_at),
        expires_ms: key.expires_at.map(record::ms),
        revoked_ms: key.revoked_at.map(record::ms),
        used_ms: key.used_at.map(record::ms),
    }
}

fn create(
    txn: &mut WriteTransaction<'_>,
    key: &ApiKey,
    bounds: ApiKeyBounds,
) -> Result<ApiKeyCreateOutcome, EngineError> {
    let (mut kept, mut ended) = (0, Vec::new());
    let rows = txn.rows();
    for found in rows.scan(key::API_KEYS, None) {
        let (name, value) = found?;
        let row: store::ApiKey = rows.decode(&name, &value)?;
        let ends = row.expires_ms.into_iter().chain(row.revoked_ms).min();
        if ends.is_some_and(|at| at < record::ms(bounds.forget_before)) {
            ended.push(name);
        } else {
            kept += 1;
        }
    }
    for name in ended {
        txn.remove(&name)?;
    }
    let name = key::api_key(key.id);
    if txn.has(&name)? {
        return Ok(ApiKeyCreateOutcome::Taken);
    }
    if kept >= bounds.max {
        return Ok(ApiKeyCreateOutcome::Full);
    }
    txn.put(&name, &record_of(key))?;
    Ok(ApiKeyCreateOutcome::Created)
}

fn revoke(
    txn: &mut WriteTransaction<'_>,
    id: ApiKeyId,
    at: UnixTimestamp,
) -> Result<bool, EngineError> {
    let name = key::api_key(id);
    let Some(mut row) = txn.get::<store::ApiKey>(&name)? else {
        return Ok(false);
    };
    let at = record::ms(at);
    row.revoked_ms = Some(row.revoked_ms.map_or(at, |before| before.min(at)));
    txn.put(&name, &row)?;
    Ok(true)
}

fn touch(
    txn: &mut WriteTransaction<'_>,
    id: ApiKeyId,
    at: UnixTimestamp,
) -> Result<(), EngineError> {
    let name = key::api_key(id);
    let Some(mut row) = txn.get::<store::ApiKey>(&name)? else {
        return Ok(());
    };
    let at = Some(record::ms(at));
    if row.used_ms < at {
        row.used_ms = at;
        txn.put(&name, &row)?;
    }
    Ok(())
}

#[async_trait]
impl ApiKeyStore for SledStore {
    async fn create(
        &self,
        key: &ApiKey,
        bounds: ApiKeyBounds,
    ) -> Result<ApiKeyCreateOutcome, StoreError> {
        let key = key.clone();
        let create = move |txn: &mut WriteTransaction<'_>| create(txn, &key, bounds);
        self.change("api_key.create", SpaceEffect::Adds, create)
            .await
    }

    async fn get(&self, id: ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        let read = self.read("api_key.get", move |rows| {
            let row: Option<store::ApiKey> = rows.get(&key::api_key(id))?;
            row.map(|row| api_key(id, row)).transpose()
        });
        read.await
    }

    async fn list(
        &self,
        after: Option<ApiKeyId>,
        limit: usize,
    ) -> Result<ListPage<ApiKey>, StoreError> {
        let read = self.read("api_key.list", move |rows| {
            let after = after.map(key::api_key);
            let after = after.as_ref().map(key::OneNumberKey::as_slice);
            let found = rows.scan(key::API_KEYS, after).map(|found| {
                let (name, value) = found?;
                let row: store::ApiKey = rows.decode(&name, &value)?;
                api_key(record::key_api_key(&name)?, row)
            });
            page(found, limit)
        });
        read.await
    }

    async fn revoke(&self, id: ApiKeyId, at: UnixTimestamp) -> Result<bool, StoreError> {
        let revoke = move |txn: &mut WriteTransaction<'_>| revoke(txn, id, at);
        // A key must be revocable on a disk that is nearly full.
        self.change("api_key.revoke", SpaceEffect::Removes, revoke)
            .await
    }

    async fn touch(&self, uses: &[(ApiKeyId, UnixTimestamp)]) -> Result<(), StoreError> {
        if uses.is_empty() {
            return Ok(());
        }
        let uses = uses.to_vec();
        let change = self.change("api_key.touch", SpaceEffect::Sets, move |txn| {
            uses.iter().try_for_each(|(id, at)| touch(txn, *id, *at))
        });
        change.await
    }
}
