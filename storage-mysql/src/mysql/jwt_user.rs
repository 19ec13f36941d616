//! Users that JWTs name.

use std::collections::HashMap;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use gimlet_core::id::UserId;
use gimlet_core::store::{
    JwtProfile, JwtProfileChange, JwtRevocation, JwtUser, JwtUserStore, RevokedJwt, StoreError,
};
use gimlet_core::time::UnixTimestamp;
use sqlx::mysql::MySqlRow;

use super::engine::{MysqlEngine, StatementEffect, WorkPace};
use super::session::{MysqlSession, bytes, text, time, user as user_id};
use crate::error::EngineError;

/// Bytes of one revoked token: the hash of its id, and its expiry.
const REVOKED_BYTES: usize = 40;

/// Lists the columns of a user, as `read` reads them.
macro_rules! columns {
    () => {
        "SELECT user_id, nickname, avatar_url, created_at, updated_at, issued_before, revoked \
         FROM jwt_user "
    };
}

fn read(row: &MySqlRow) -> Result<JwtUser, EngineError> {
    let created_at = time(row, 3)?;
    let profile = JwtProfile {
        nickname: text(row, 1)?,
        avatar_url: text(row, 2)?,
        created_at,
        updated_at: time(row, 4)?,
    };
    let issued_before = time(row, 5)?;
    let stored = bytes(row, 6)?;
    let (revoked, rest) = stored.as_chunks::<REVOKED_BYTES>();
    if !rest.is_empty() {
        return Err(EngineError::Corrupt(
            "a list of revoked tokens has another length",
        ));
    }
    let revoked = revoked.iter().filter_map(revoked_token);
    Ok(JwtUser {
        user: user_id(row, 0)?,
        profile: (created_at != UnixTimestamp(0)).then_some(profile),
        issued_before: (issued_before != UnixTimestamp(0)).then_some(issued_before),
        revoked: revoked.collect(),
    })
}

/// Reads a revoked token; the width of its bytes makes that succeed.
fn revoked_token(stored: &[u8; REVOKED_BYTES]) -> Option<RevokedJwt> {
    let (id, expiry) = stored.split_first_chunk::<32>()?;
    let expiry = expiry.first_chunk::<8>()?;
    Some(RevokedJwt {
        id: *id,
        expires_at: UnixTimestamp(i64::from_be_bytes(*expiry)),
    })
}

/// Changes the record of a user, which is created if it is missing.
async fn change(
    session: &mut MysqlSession,
    user: UserId,
    change: impl Fn(&mut JwtUser) + Send + Sync,
) -> Result<(), EngineError> {
    // Created first: to lock a row that is missing locks its gap, and two such locks are a
    // deadlock.
    let sql = "INSERT INTO jwt_user (user_id, nickname, avatar_url, created_at, updated_at, \
               issued_before, revoked) VALUES (?, '', '', 0, 0, 0, '') \
               ON DUPLICATE KEY UPDATE user_id = VALUES(user_id)";
    session.run(sqlx::query(sql).bind(user.get())).await?;
    let sql = concat!(columns!(), "WHERE user_id = ? FOR UPDATE");
    let row = session.row(sqlx::query(sql).bind(user.get())).await?;
    let row = row.ok_or(EngineError::Corrupt(
        "a user is missing after it was created",
    ))?;
    let mut stored = read(&row)?;
    change(&mut stored);
    let profile = stored.profile.as_ref();
    let none = UnixTimestamp(0);
    let revoked = stored.revoked.iter();
    let revoked = revoked.flat_map(|it| it.id.into_iter().chain(it.expires_at.0.to_be_bytes()));
    let revoked: Vec<u8> = revoked.collect();
    let sql = "UPDATE jwt_user SET nickname = ?, avatar_url = ?, created_at = ?, updated_at = ?, \
               issued_before = ?, revoked = ? WHERE user_id = ?";
    let update = sqlx::query(sql)
        .bind(profile.map_or("", |it| it.nickname.as_str()))
        .bind(profile.map_or("", |it| it.avatar_url.as_str()))
        .bind(profile.map_or(none, |it| it.created_at).0)
        .bind(profile.map_or(none, |it| it.updated_at).0)
        .bind(stored.issued_before.unwrap_or(none).0)
        .bind(revoked)
        .bind(user.get());
    session.run(update).await.map(|_| ())
}

#[async_trait]
impl JwtUserStore for MysqlEngine {
    async fn get(&self, users: &[UserId]) -> Result<Vec<JwtUser>, StoreError> {
        let mut numbers: Vec<u64> = users.iter().map(|it| it.get()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let read = self.once("jwt_user.get", StatementEffect::Read, move |session| {
            let numbers = numbers.clone();
            async move {
                let head = concat!(columns!(), "WHERE user_id IN (");
                let rows = session.rows_in(head, &numbers, ")").await?;
                let known = rows.iter().map(|row| read(row).map(|it| (it.user, it)));
                known.collect::<Result<HashMap<_, _>, _>>()
            }
            .boxed()
        });
        let known = read.await?;
        let found = users.iter().filter_map(|it| known.get(it).cloned());
        Ok(found.collect())
    }

    async fn set_profile(
        &self,
        user: UserId,
        profile: &JwtProfileChange,
        at: UnixTimestamp,
    ) -> Result<(), StoreError> {
        let profile = profile.clone();
        let set = self.change("jwt_user.set_profile", WorkPace::Prompt, move |session| {
            let profile = profile.clone();
            async move { change(session, user, |it| it.set_profile(&profile, at)).await }.boxed()
        });
        set.await
    }

    async fn revoke(
        &self,
        user: UserId,
        revocation: JwtRevocation,
        now: UnixTimestamp,
    ) -> Result<(), StoreError> {
        let revoke = self.change("jwt_user.revoke", WorkPace::Prompt, move |session| {
            async move { change(session, user, |it| it.revoke(revocation, now)).await }.boxed()
        });
        revoke.await
    }
}
