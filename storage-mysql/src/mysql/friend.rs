//! Friends: one row per direction, either requested or agreed.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use gimlet_core::events::NewEvent;
use gimlet_core::id::UserId;
use gimlet_core::page::ListPage;
use gimlet_core::store::{
    AppendRequest, Friend, FriendAcceptOutcome, FriendRequestOutcome, FriendStore, StoreError,
};
use gimlet_core::time::UnixTimestamp;
use sqlx::Row as _;

use super::append;
use super::engine::{MysqlEngine, StatementEffect, WorkPace};
use super::events::put_events;
use super::session::{MysqlSession, text, user as user_id};
use crate::error::EngineError;

/// Reads and locks a friendship edge: `None` without a row, otherwise whether the two are friends.
async fn friendship_edge(
    session: &mut MysqlSession,
    user: UserId,
    other: UserId,
) -> Result<Option<bool>, EngineError> {
    let sql = "SELECT agreed FROM friend WHERE user_id = ? AND friend_id = ? FOR UPDATE";
    let select = sqlx::query(sql).bind(user.get()).bind(other.get());
    let row = session.row(select).await?;
    let agreed = row.map(|row| row.try_get::<u8, _>(0)).transpose()?;
    Ok(agreed.map(|it| it == 1))
}

#[async_trait]
impl FriendStore for MysqlEngine {
    async fn request(
        &self,
        user: UserId,
        friend: UserId,
        remarks: &str,
        pushes: &[AppendRequest],
        events: &[NewEvent],
        at: UnixTimestamp,
    ) -> Result<FriendRequestOutcome, StoreError> {
        AppendRequest::check("friend.request", pushes)?;
        let now = self.now();
        let (remarks, pushes): (Arc<str>, Arc<[AppendRequest]>) = (remarks.into(), pushes.into());
        let events: Arc<[NewEvent]> = events.into();
        self.change("friend.request", WorkPace::Prompt, move |session| {
            let (remarks, pushes) = (Arc::clone(&remarks), Arc::clone(&pushes));
            let events = Arc::clone(&events);
            async move {
                match friendship_edge(session, user, friend).await? {
                    Some(true) => return Ok(FriendRequestOutcome::Friends),
                    Some(false) => return Ok(FriendRequestOutcome::Pending),
                    None => {}
                }
                // If two calls request at once, the second one hits the primary key; the
                // transaction is repeated and finds the first one's row.
                let sql = "INSERT INTO friend (user_id, friend_id, agreed, remarks, extra, \
                           updated_at) VALUES (?, ?, 0, ?, '', ?)";
                let insert = sqlx::query(sql)
                    .bind(user.get())
                    .bind(friend.get())
                    .bind(&*remarks)
                    .bind(at.0);
                session.run(insert).await?;
                let pushes = append::append(session, &pushes, now).await?;
                put_events(session, &events).await?;
                Ok(FriendRequestOutcome::Sent(pushes))
            }
            .boxed()
        })
        .await
    }

    async fn agree(
        &self,
        user: UserId,
        requester: UserId,
        remarks: &str,
        pushes: &[AppendRequest],
        events: &[NewEvent],
        at: UnixTimestamp,
    ) -> Result<FriendAcceptOutcome, StoreError> {
        AppendRequest::check("friend.agree", pushes)?;
        let now = self.now();
        let (remarks, pushes): (Arc<str>, Arc<[AppendRequest]>) = (remarks.into(), pushes.into());
        let events: Arc<[NewEvent]> = events.into();
        self.change("friend.agree", WorkPace::Prompt, move |session| {
            let (remarks, pushes) = (Arc::clone(&remarks), Arc::clone(&pushes));
            let events = Arc::clone(&events);
            async move {
                match friendship_edge(session, requester, user).await? {
                    None => return Ok(FriendAcceptOutcome::NoRequest),
                    Some(true) => return Ok(FriendAcceptOutcome::Before),
                    Some(false) => {}
                }
                let sql = "UPDATE friend SET agreed = 1, updated_at = ? \
                           WHERE user_id = ? AND friend_id = ?";
                let update = sqlx::query(sql)
                    .bind(at.0)
                    .bind(requester.get())
                    .bind(user.get());
                session.run(update).await?;
                // Mutual requests become one friendship, and remarks of the user's own request are
                // kept.
                let sql = "INSERT INTO friend (user_id, friend_id, agreed, remarks, extra, \
                           updated_at) VALUES (?, ?, 1, ?, '', ?) ON DUPLICATE KEY UPDATE \
                           agreed = 1, \
                           remarks = IF(VALUES(remarks) = '', remarks, VALUES(remarks)), \
                           updated_at = VALUES(updated_at)";
                let upsert = sqlx::query(sql)
                    .bind(user.get())
                    .bind(requester.get())
                    .bind(&*remarks)
                    .bind(at.0);
                session.run(upsert).await?;
                let pushes = append::append(session, &pushes, now).await?;
                put_events(session, &events).await?;
                Ok(FriendAcceptOutcome::Now(pushes))
            }
            .boxed()
        })
        .await
    }

    async fn set(
        &self,
        user: UserId,
        friend: UserId,
        remarks: Option<&str>,
        extra: Option<&str>,
        at: UnixTimestamp,
    ) -> Result<Option<Friend>, StoreError> {
        let (remarks, extra) = (remarks.map(str::to_owned), extra.map(str::to_owned));
        self.change("friend.set", WorkPace::Prompt, move |session| {
            let (remarks, extra) = (remarks.clone(), extra.clone());
            async move {
                let sql = "SELECT remarks, extra FROM friend \
                           WHERE user_id = ? AND friend_id = ? FOR UPDATE";
                let select = sqlx::query(sql).bind(user.get()).bind(friend.get());
                let Some(row) = session.row(select).await? else {
                    return Ok(None);
                };
                let kept = Friend {
                    user: friend,
                    remarks: remarks.map_or_else(|| text(&row, 0), Ok)?,
                    extra: extra.map_or_else(|| text(&row, 1), Ok)?,
                };
                let sql = "UPDATE friend SET remarks = ?, extra = ?, updated_at = ? \
                           WHERE user_id = ? AND friend_id = ?";
                let update = sqlx::query(sql)
                    .bind(kept.remarks.clone())
                    .bind(kept.extra.clone())
                    .bind(at.0)
                    .bind(user.get())
                    .bind(friend.get());
                session.run(update).await?;
                Ok(Some(kept))
            }
            .boxed()
        })
        .await
    }

    async fn are_friends(&self, user: UserId, friend: UserId) -> Result<bool, StoreError> {
        self.once(
            "friend.are_friends",
            StatementEffect::Read,
            move |session| {
                async move {
                    let sql = "SELECT 1 FROM friend \
                           WHERE user_id = ? AND friend_id = ? AND agreed = 1";
                    let select = sqlx::query(sql).bind(user.get()).bind(friend.get());
                    Ok(session.row(select).await?.is_some())
                }
                .boxed()
            },
        )
        .await
    }

    async fn friends(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<ListPage<Friend>, StoreError> {
        let (after, limit) = (after.map_or(0, UserId::get), limit.max(1));
        self.once("friend.friends", StatementEffect::Read, move |session| {
            async move {
                let sql = "SELECT friend_id, remarks, extra FROM friend WHERE user_id = ? \
                           AND friend_id > ? AND agreed = 1 ORDER BY friend_id LIMIT ?";
                let select = sqlx::query(sql).bind(user.get()).bind(after);
                let rows = session.rows(select.bind(limit as u64 + 1)).await?;
                super::page(&rows, limit, |row| {
                    Ok(Friend {
                        user: user_id(row, 0)?,
                        remarks: text(row, 1)?,
                        extra: text(row, 2)?,
                    })
                })
            }
            .boxed()
        })
        .await
    }
}
