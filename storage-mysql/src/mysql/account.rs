//! Users and tokens of the built-in business service.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::page::ListPage;
use gimlet_core::store::{
    AccountChange, AccountStore, NewAccount, NicknameMatch, StoreError, TokenRecord, UserAccount,
    UserBan,
};
use gimlet_core::time::UnixTimestamp;
use sqlx::Row as _;
use sqlx::mysql::MySqlRow;

use super::engine::{MysqlEngine, StatementEffect, WorkPace};
use super::session::{MysqlSession, text, time, user as user_id};
use super::tokens::TokenLookups;
use crate::error::EngineError;

/// The store of users and tokens: an engine, with its lookups of tokens.
#[derive(Debug)]
pub(crate) struct MysqlAccounts {
    engine: MysqlEngine,
    tokens: TokenLookups,
}

impl MysqlAccounts {
    /// Makes the store over an engine. There is one for each engine, so that all lookups of tokens
    /// share their statements.
    pub(crate) fn new(engine: MysqlEngine) -> Self {
        Self {
            tokens: TokenLookups::new(engine.clone()),
            engine,
        }
    }
}

impl Deref for MysqlAccounts {
    type Target = MysqlEngine;

    fn deref(&self) -> &MysqlEngine {
        &self.engine
    }
}

/// Lists the columns of an account, as `read` reads them.
macro_rules! columns {
    () => {
        "SELECT user_id, phone, nickname, sex, avatar_url, extra, created_at, updated_at FROM account "
    };
}

fn read(row: &MySqlRow) -> Result<UserAccount, EngineError> {
    Ok(UserAccount {
        user: user_id(row, 0)?,
        phone: text(row, 1)?,
        nickname: text(row, 2)?,
        sex: row.try_get(3)?,
        avatar_url: text(row, 4)?,
        extra: text(row, 5)?,
        created_at: time(row, 6)?,
        updated_at: time(row, 7)?,
    })
}

async fn by_phone(
    session: &mut MysqlSession,
    phone: &str,
) -> Result<Option<UserAccount>, EngineError> {
    let sql = concat!(columns!(), "WHERE phone = ?");
    let row = session.row(sqlx::query(sql).bind(phone.as_bytes())).await?;
    row.as_ref().map(read).transpose()
}

async fn find_or_create(
    session: &mut MysqlSession,
    new: &NewAccount,
) -> Result<(UserAccount, bool), EngineError> {
    if let Some(known) = by_phone(session, &new.phone).await? {
        return Ok((known, false));
    }
    let sql = "INSERT INTO account (user_id, phone, nickname, sex, avatar_url, extra, created_at, \
               updated_at) VALUES (?, ?, '', 0, '', '', ?, ?)";
    let insert = sqlx::query(sql)
        .bind(new.user.get())
        .bind(new.phone.as_bytes())
        .bind(new.at.0)
        .bind(new.at.0);
    // If two calls create the same phone at once, the second one hits the unique key; the
    // transaction is repeated and finds the first one's row.
    session.run(insert).await?;
    let account = UserAccount {
        user: new.user,
        phone: new.phone.clone(),
        nickname: String::new(),
        sex: 0,
        avatar_url: String::new(),
        extra: String::new(),
        created_at: new.at,
        updated_at: new.at,
    };
    Ok((account, true))
}

/// Converts the key to a LIKE pattern; `|` escapes a wildcard.
fn pattern(key: &str, names: NicknameMatch) -> String {
    let mut pattern = String::with_capacity(key.len() + 1);
    for c in key.chars() {
        if matches!(c, '|' | '%' | '_') {
            pattern.push('|');
        }
        pattern.push(c);
    }
    if names == NicknameMatch::Begin {
        pattern.push('%');
    }
    pattern
}

async fn put_token(
    session: &mut MysqlSession,
    user: UserId,
    device: DeviceId,
    token: &TokenRecord,
) -> Result<(), EngineError> {
    let sql = "INSERT INTO user_token (device_id, user_id, hash, expires_at) VALUES (?, ?, ?, ?) \
               ON DUPLICATE KEY UPDATE hash = VALUES(hash), expires_at = VALUES(expires_at)";
    let upsert = sqlx::query(sql)
        .bind(device.get())
        .bind(user.get())
        .bind(token.hash.as_slice())
        .bind(token.expires_at.0);
    session.run(upsert).await.map(|_| ())
}

#[async_trait]
impl AccountStore for MysqlAccounts {
    async fn find_or_create(&self, new: &NewAccount) -> Result<(UserAccount, bool), StoreError> {
        let new = Arc::new(new.clone());
        self.change("account.find_or_create", WorkPace::Prompt, move |session| {
            let new = Arc::clone(&new);
            async move { find_or_create(session, &new).await }.boxed()
        })
        .await
    }

    async fn by_phone(&self, phone: &str) -> Result<Option<UserAccount>, StoreError> {
        let phone: Arc<str> = phone.into();
        self.once("account.by_phone", StatementEffect::Read, move |session| {
            let phone = Arc::clone(&phone);
            async move { by_phone(session, &phone).await }.boxed()
        })
        .await
    }

    async fn get(&self, users: &[UserId]) -> Result<Vec<UserAccount>, StoreError> {
        let mut numbers: Vec<u64> = users.iter().map(|it| it.get()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let read = self.once("account.get", StatementEffect::Read, move |session| {
            let numbers = numbers.clone();
            async move {
                let head = concat!(columns!(), "WHERE user_id IN (");
                let rows = session.rows_in(head, &numbers, ")").await?;
                let accounts = rows.iter().map(|row| read(row).map(|it| (it.user, it)));
                accounts.collect::<Result<HashMap<_, _>, _>>()
            }
            .boxed()
        });
        let accounts = read.await?;
        let found = users.iter().filter_map(|it| accounts.get(it).cloned());
        Ok(found.collect())
    }

    async fn update(
        &self,
        user: UserId,
        change: &AccountChange,
        at: UnixTimestamp,
    ) -> Result<bool, StoreError> {
        let change = change.clone();
        self.once(
            "account.update",
            StatementEffect::Repeatable,
            move |session| {
                let change = change.clone();
                async move {
                    let sql = "UPDATE account SET nickname = COALESCE(?, nickname), \
                           sex = COALESCE(?, sex), avatar_url = COALESCE(?, avatar_url), \
                           extra = COALESCE(?, extra), updated_at = ? WHERE user_id = ?";
                    let update = sqlx::query(sql)
                        .bind(change.nickname)
                        .bind(change.sex)
                        .bind(change.avatar_url)
                        .bind(change.extra)
                        .bind(at.0)
                        .bind(user.get());
                    Ok(session.run(update).await?.rows_affected() > 0)
                }
                .boxed()
            },
        )
        .await
    }

    async fn search(
        &self,
        key: &str,
        names: NicknameMatch,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<ListPage<UserAccount>, StoreError> {
        let (key, after, limit) = (key.to_owned(), after.map_or(0, UserId::get), limit.max(1));
        self.once("account.search", StatementEffect::Read, move |session| {
            let key = key.clone();
            async move {
                // Each half of the UNION uses its own index; a single condition with OR would read
                // the whole table.
                let sql = concat!(
                    "(",
                    columns!(),
                    "WHERE nickname LIKE ? ESCAPE '|' AND user_id > ? ORDER BY user_id LIMIT ?) \
                     UNION (",
                    columns!(),
                    "WHERE phone = ? AND user_id > ?) ORDER BY user_id LIMIT ?"
                );
                let max = limit as u64 + 1;
                let select = sqlx::query(sql)
                    .bind(pattern(&key, names))
                    .bind(after)
                    .bind(max)
                    .bind(key.as_bytes())
                    .bind(after)
                    .bind(max);
                super::page(&session.rows(select).await?, limit, read)
            }
            .boxed()
        })
        .await
    }

    async fn put_token(
        &self,
        user: UserId,
        device: DeviceId,
        token: &TokenRecord,
        alone: bool,
    ) -> Result<Vec<UserId>, StoreError> {
        let token = token.clone();
        if !alone {
            let put = self.once(
                "account.put_token",
                StatementEffect::Repeatable,
                move |session| {
                    let token = token.clone();
                    async move { put_token(session, user, device, &token).await }.boxed()
                },
            );
            return put.await.map(|()| Vec::new());
        }
        self.change("account.put_token", WorkPace::Prompt, move |session| {
            let token = token.clone();
            async move {
                let sql = "SELECT user_id FROM user_token WHERE device_id = ? FOR UPDATE";
                let rows = session.rows(sqlx::query(sql).bind(device.get())).await?;
                let holders = rows.iter().map(|row| user_id(row, 0));
                let mut superseded: Vec<UserId> = holders.collect::<Result<_, _>>()?;
                superseded.retain(|holder| *holder != user);
                let sql = "DELETE FROM user_token WHERE device_id = ? AND user_id <> ?";
                let delete = sqlx::query(sql).bind(device.get()).bind(user.get());
                session.run(delete).await?;
                put_token(session, user, device, &token).await?;
                Ok(superseded)
            }
            .boxed()
        })
        .await
    }

    async fn token(
        &self,
        user: UserId,
        device: DeviceId,
    ) -> Result<Option<TokenRecord>, StoreError> {
        self.tokens.token(user, device).await
    }

    async fn revoke_token(&self, user: UserId, device: DeviceId) -> Result<(), StoreError> {
        self.once(
            "account.revoke_token",
            StatementEffect::Repeatable,
            move |session| {
                async move {
                    let sql = "DELETE FROM user_token WHERE device_id = ? AND user_id = ?";
                    let delete = sqlx::query(sql).bind(device.get()).bind(user.get());
                    session.run(delete).await.map(|_| ())
                }
                .boxed()
            },
        )
        .await
    }

    async fn ban(&self, user: UserId, ban: &UserBan) -> Result<(), StoreError> {
        let ban = ban.clone();
        self.once("account.ban", StatementEffect::Repeatable, move |session| {
            let ban = ban.clone();
            async move {
                let sql = "INSERT INTO user_ban (user_id, reason, banned_at) VALUES (?, ?, ?) \
                           ON DUPLICATE KEY UPDATE reason = VALUES(reason), \
                           banned_at = VALUES(banned_at)";
                let upsert = sqlx::query(sql)
                    .bind(user.get())
                    .bind(ban.reason)
                    .bind(ban.at.0);
                session.run(upsert).await.map(|_| ())
            }
            .boxed()
        })
        .await
    }

    async fn lift_ban(&self, user: UserId) -> Result<(), StoreError> {
        let lift = self.once(
            "account.lift_ban",
            StatementEffect::Repeatable,
            move |session| {
                async move {
                    let sql = "DELETE FROM user_ban WHERE user_id = ?";
                    session
                        .run(sqlx::query(sql).bind(user.get()))
                        .await
                        .map(|_| ())
                }
                .boxed()
            },
        );
        lift.await
    }

    async fn ban_of(&self, user: UserId) -> Result<Option<UserBan>, StoreError> {
        let read = self.once("account.ban_of", StatementEffect::Read, move |session| {
            async move {
                let sql = "SELECT reason, banned_at FROM user_ban WHERE user_id = ?";
                let row = session.row(sqlx::query(sql).bind(user.get())).await?;
                let ban = row.as_ref().map(|row| {
                    Ok(UserBan {
                        reason: text(row, 0)?,
                        at: time(row, 1)?,
                    })
                });
                ban.transpose()
            }
            .boxed()
        });
        read.await
    }
}
