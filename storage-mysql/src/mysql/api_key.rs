//! API keys of backends. A time of 0 in the table is none.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use gimlet_core::id::ApiKeyId;
use gimlet_core::page::ListPage;
use gimlet_core::scope::ApiScopes;
use gimlet_core::store::{ApiKey, ApiKeyBounds, ApiKeyCreateOutcome, ApiKeyStore, StoreError};
use gimlet_core::time::UnixTimestamp;
use sqlx::mysql::MySqlRow;

use super::engine::{MysqlEngine, StatementEffect, WorkPace};
use super::session::{MysqlSession, fixed, number, signed, text, time};
use crate::error::EngineError;

/// Lists the columns of a key, as `read` reads them.
macro_rules! columns {
    () => {
        "SELECT key_id, hash, name, scopes, created_at, expires_at, revoked_at, used_at FROM api_key "
    };
}

fn read(row: &MySqlRow) -> Result<ApiKey, EngineError> {
    let id = ApiKeyId::new(number(row, 0)?);
    Ok(ApiKey {
        id: id.ok_or(EngineError::Corrupt("an API key's id is out of range"))?,
        hash: fixed(row, 1)?,
        name: text(row, 2)?,
        scopes: ApiScopes::of_text(&text(row, 3)?),
        created_at: time(row, 4)?,
        expires_at: time_or_none(row, 5)?,
        revoked_at: time_or_none(row, 6)?,
        used_at: time_or_none(row, 7)?,
    })
}

fn time_or_none(row: &MySqlRow, at: usize) -> Result<Option<UnixTimestamp>, EngineError> {
    let ms = signed(row, at)?;
    Ok((ms != 0).then_some(UnixTimestamp(ms)))
}

fn ms_or_zero(time: Option<UnixTimestamp>) -> i64 {
    time.map_or(0, |it| it.0)
}

async fn create(
    session: &mut MysqlSession,
    key: &ApiKey,
    bounds: ApiKeyBounds,
) -> Result<ApiKeyCreateOutcome, EngineError> {
    let sql = "DELETE FROM api_key WHERE (expires_at <> 0 AND expires_at < ?) \
               OR (revoked_at <> 0 AND revoked_at < ?)";
    let before = bounds.forget_before.0;
    session
        .run(sqlx::query(sql).bind(before).bind(before))
        .await?;
    let sql = "SELECT key_id FROM api_key WHERE key_id = ?";
    let taken = session.row(sqlx::query(sql).bind(key.id.get())).await?;
    if taken.is_some() {
        return Ok(ApiKeyCreateOutcome::Taken);
    }
    let row = session
        .row(sqlx::query("SELECT COUNT(*) FROM api_key"))
        .await?;
    let kept = row.map_or(Ok(0), |row| signed(&row, 0))?;
    if usize::try_from(kept).unwrap_or(usize::MAX) >= bounds.max {
        return Ok(ApiKeyCreateOutcome::Full);
    }
    let sql = "INSERT INTO api_key (key_id, hash, name, scopes, created_at, expires_at, revoked_at, \
               used_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    let insert = sqlx::query(sql)
        .bind(key.id.get())
        .bind(key.hash.as_slice())
        .bind(&key.name)
        .bind(key.scopes.text())
        .bind(key.created_at.0)
        .bind(ms_or_zero(key.expires_at))
        .bind(ms_or_zero(key.revoked_at))
        .bind(ms_or_zero(key.used_at));
    // If two calls create the same id at once, the second one hits the primary key; the transaction
    // is repeated and finds the id taken.
    session.run(insert).await?;
    Ok(ApiKeyCreateOutcome::Created)
}

#[async_trait]
impl ApiKeyStore for MysqlEngine {
    async fn create(
        &self,
        key: &ApiKey,
        bounds: ApiKeyBounds,
    ) -> Result<ApiKeyCreateOutcome, StoreError> {
        let key = Arc::new(key.clone());
        self.change("api_key.create", WorkPace::Prompt, move |session| {
            let key = Arc::clone(&key);
            async move { create(session, &key, bounds).await }.boxed()
        })
        .await
    }

    async fn get(&self, id: ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        self.once("api_key.get", StatementEffect::Read, move |session| {
            async move {
                let sql = concat!(columns!(), "WHERE key_id = ?");
                let row = session.row(sqlx::query(sql).bind(id.get())).await?;
                row.as_ref().map(read).transpose()
            }
            .boxed()
        })
        .await
    }

    async fn list(
        &self,
        after: Option<ApiKeyId>,
        limit: usize,
    ) -> Result<ListPage<ApiKey>, StoreError> {
        let (after, limit) = (after.map_or(0, ApiKeyId::get), limit.max(1));
        self.once("api_key.list", StatementEffect::Read, move |session| {
            async move {
                let sql = concat!(columns!(), "WHERE key_id > ? ORDER BY key_id LIMIT ?");
                let select = sqlx::query(sql).bind(after).bind(limit as u64 + 1);
                super::page(&session.rows(select).await?, limit, read)
            }
            .boxed()
        })
        .await
    }

    async fn revoke(&self, id: ApiKeyId, at: UnixTimestamp) -> Result<bool, StoreError> {
        self.change("api_key.revoke", WorkPace::Prompt, move |session| {
            async move {
                let sql = "UPDATE api_key SET revoked_at = ? WHERE key_id = ? \
                           AND (revoked_at = 0 OR revoked_at > ?)";
                let update = sqlx::query(sql).bind(at.0).bind(id.get()).bind(at.0);
                session.run(update).await?;
                // The update changes no row of a key that was revoked before.
                let sql = "SELECT key_id FROM api_key WHERE key_id = ?";
                let row = session.row(sqlx::query(sql).bind(id.get())).await?;
                Ok(row.is_some())
            }
            .boxed()
        })
        .await
    }

    async fn touch(&self, uses: &[(ApiKeyId, UnixTimestamp)]) -> Result<(), StoreError> {
        if uses.is_empty() {
            return Ok(());
        }
        let uses: Arc<[_]> = uses.into();
        self.once(
            "api_key.touch",
            StatementEffect::Repeatable,
            move |session| {
                let uses = Arc::clone(&uses);
                async move {
                    // Few keys are used in a minute: a statement for each.
                    for (id, at) in uses.iter() {
                        let sql =
                            "UPDATE api_key SET used_at = GREATEST(used_at, ?) WHERE key_id = ?";
                        let update = sqlx::query(sql).bind(at.0).bind(id.get());
                        session.run(update).await?;
                    }
                    Ok(())
                }
                .boxed()
            },
        )
        .await
    }
}
