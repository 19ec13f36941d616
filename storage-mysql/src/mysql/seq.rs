//! Heads, the epoch and id blocks.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use gimlet_core::id::{Epoch, UserId};
use gimlet_core::seq::Seq;
use gimlet_core::store::{Head, IdScope, SeqStore, StoreError, StoreErrorKind};

use super::engine::{MysqlEngine, StatementEffect};
use super::history::NO_EPOCH;
use super::session::{MysqlSession, number, user};
use crate::error::EngineError;

/// Counter of fan-out jobs; the other counters belong to a `IdScope`.
pub(super) const JOB_COUNTER_SCOPE: u8 = 4;

/// Draws the epoch of a new store; an existing epoch stays.
pub(super) async fn settle_epoch(session: &mut MysqlSession) -> Result<(), EngineError> {
    let sql = "INSERT INTO meta (name, value) VALUES ('epoch', ?) \
               ON DUPLICATE KEY UPDATE name = name";
    session.run(sqlx::query(sql).bind(Epoch::draw().0)).await?;
    Ok(())
}

/// Draws the identity of a new database, which is unique, and returns it; an existing identity
/// stays. Redis and other nodes are compared with it.
pub(super) async fn settle_cluster(session: &mut MysqlSession) -> Result<u64, EngineError> {
    let sql = "INSERT INTO meta (name, value) VALUES ('cluster', ?) \
               ON DUPLICATE KEY UPDATE name = name";
    let drawn = rand::random::<u64>().max(1);
    session.run(sqlx::query(sql).bind(drawn)).await?;
    let sql = "SELECT value FROM meta WHERE name = 'cluster'";
    let row = session.row(sqlx::query(sql)).await?;
    let row = row.ok_or(EngineError::Corrupt(
        "the identity of the database is missing",
    ))?;
    number(&row, 0)
}

/// Raises a counter and returns the first of `n` new numbers.
pub(super) async fn take(
    session: &mut MysqlSession,
    scope: u8,
    n: u64,
) -> Result<u64, EngineError> {
    let sql = "UPDATE counter SET value = LAST_INSERT_ID(value + ?) WHERE scope = ?";
    let done = session.run(sqlx::query(sql).bind(n).bind(scope)).await?;
    if done.rows_affected() == 0 {
        return Err(EngineError::Corrupt("a counter is missing"));
    }
    Ok(done.last_insert_id() - n + 1)
}

#[async_trait]
impl SeqStore for MysqlEngine {
    async fn epoch(&self) -> Result<Epoch, StoreError> {
        if let Some(epoch) = self.epoch_cell().get() {
            return Ok(epoch);
        }
        let read = self.once("seq.epoch", StatementEffect::Read, |session| {
            async move {
                let sql = "SELECT value FROM meta WHERE name = 'epoch'";
                let row = session.row(sqlx::query(sql)).await?;
                let row = row.ok_or(NO_EPOCH)?;
                number(&row, 0).map(Epoch)
            }
            .boxed()
        });
        let epoch = read.await?;
        if self.history().is_earlier(epoch) {
            // The renewal itself was lost, together with everything stored after it.
            return self.new_epoch(epoch).await;
        }
        self.history().begin(epoch);
        self.epoch_cell().set(epoch);
        Ok(epoch)
    }

    async fn new_epoch(&self, old: Epoch) -> Result<Epoch, StoreError> {
        // A second run finds that the epoch `old` has been replaced.
        let renew = self.once(
            "seq.new_epoch",
            StatementEffect::Repeatable,
            move |session| {
                async move {
                    session.renew(old).await?;
                    session.history.present().ok_or(NO_EPOCH)
                }
                .boxed()
            },
        );
        let epoch = renew.await?;
        self.epoch_cell().set(epoch);
        Ok(epoch)
    }

    async fn heads(&self, users: &[UserId]) -> Result<Vec<Head>, StoreError> {
        let mut numbers: Vec<u64> = users.iter().map(|it| it.get()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let read = self.once("seq.heads", StatementEffect::Read, move |session| {
            let numbers = numbers.clone();
            async move {
                let history = Arc::clone(&session.history);
                // The known heads are taken before the read: see `StoreHistory::saw`.
                let ids = numbers.iter().filter_map(|it| UserId::new(*it));
                let known: HashMap<_, _> = ids.map(|it| (it, history.known(it))).collect();
                let head = "SELECT user_id, seq, floor FROM inbox_head WHERE user_id IN (";
                let mut heads = HashMap::new();
                for row in session.rows_in(head, &numbers, ")").await? {
                    let head = Head {
                        head: Seq::new(number(&row, 1)?),
                        floor: Seq::new(number(&row, 2)?),
                    };
                    heads.insert(user(&row, 0)?, head);
                }
                for (user, known) in known {
                    let found = heads.get(&user).copied().unwrap_or_default();
                    history.saw(user, known, found.head)?;
                }
                Ok(heads)
            }
            .boxed()
        });
        let heads = read.await?;
        let known = users.iter().map(|it| heads.get(it).copied());
        Ok(known.map(Option::unwrap_or_default).collect())
    }

    async fn reserve(&self, scope: IdScope, n: u64) -> Result<u64, StoreError> {
        if !(1..=1_000).contains(&n) {
            let text = "a block holds 1 to 1,000 numbers";
            return Err(StoreError::with(
                "seq.reserve",
                StoreErrorKind::Misuse,
                text,
            ));
        }
        let scope = counter_scope(scope);
        // A second run skips numbers, which is allowed.
        self.once("seq.reserve", StatementEffect::Repeatable, move |session| {
            take(session, scope, n).boxed()
        })
        .await
    }

    async fn skip(&self, scope: IdScope, upto: u64) -> Result<(), StoreError> {
        let scope = counter_scope(scope);
        self.once("seq.skip", StatementEffect::Repeatable, move |session| {
            async move {
                let sql = "UPDATE counter SET value = GREATEST(value, ?) WHERE scope = ?";
                session
                    .run(sqlx::query(sql).bind(upto).bind(scope))
                    .await
                    .map(drop)
            }
            .boxed()
        })
        .await
    }
}

const fn counter_scope(scope: IdScope) -> u8 {
    match scope {
        IdScope::User => 1,
        IdScope::Device => 2,
        IdScope::Group => 3,
    }
}
