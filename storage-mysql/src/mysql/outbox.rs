//! The outbox: events, leases of hooks, dead letters.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use gimlet_core::events::{HookName, NewEvent};
use gimlet_core::id::NodeId;
use gimlet_core::page::{ListPage, PageLimit};
use gimlet_core::store::{
    DeadLetter, FailedDelivery, HookBacklog, HookClaimOutcome, HookLease, LeaseMark, LeasedOutcome,
    OutboxBounds, OutboxPosition, OutboxRow, OutboxStore, StoreError,
};
use gimlet_core::time::UnixTimestamp;

use super::engine::{MysqlEngine, StatementEffect, WorkPace};
use super::events::put_events;
use super::outbox_page;
use super::outbox_rows::{
    DEAD_LETTERS, EVENTS, EventTable, bury, claim, count, hooks_of, is_held, numbers,
    remove_events, remove_first, remove_rows, replay,
};
use super::session::{bytes, number, text, time};

/// Events or dead letters removed in one transaction.
const SLICE_ROWS: usize = 1_000;

#[async_trait]
impl OutboxStore for MysqlEngine {
    async fn put(&self, events: &[NewEvent]) -> Result<(), StoreError> {
        let events: Arc<[NewEvent]> = events.into();
        self.change("outbox.put", WorkPace::Prompt, move |session| {
            let events = Arc::clone(&events);
            async move { put_events(session, &events).await }.boxed()
        })
        .await
    }

    async fn read(
        &self,
        hook: &HookName,
        known: &[OutboxPosition],
        limit: PageLimit,
    ) -> Result<ListPage<OutboxRow>, StoreError> {
        let (hook, known): (_, Arc<[OutboxPosition]>) = (hook.clone(), known.into());
        self.once("outbox.read", StatementEffect::Read, move |session| {
            let (hook, known) = (hook.clone(), Arc::clone(&known));
            async move { outbox_page::read(session, &hook, &known, limit).await }.boxed()
        })
        .await
    }

    async fn claim(
        &self,
        hook: &HookName,
        node: &NodeId,
        expired: Option<LeaseMark>,
    ) -> Result<HookClaimOutcome, StoreError> {
        let (hook, node) = (hook.clone(), node.name.clone());
        self.change("outbox.claim", WorkPace::Prompt, move |session| {
            let (hook, node) = (hook.clone(), node.clone());
            async move { claim(session, &hook, &node, expired).await }.boxed()
        })
        .await
    }

    async fn renew(&self, lease: &HookLease) -> Result<LeasedOutcome, StoreError> {
        let lease = lease.clone();
        let renew = self.once(
            "outbox.renew",
            StatementEffect::Repeatable,
            move |session| {
                let lease = lease.clone();
                async move {
                    let sql = "UPDATE event_lease SET beat = beat + 1 \
                           WHERE hook = ? AND generation = ? AND holder <> ''";
                    let update = sqlx::query(sql)
                        .bind(lease.hook.as_str())
                        .bind(lease.generation);
                    match session.run(update).await?.rows_affected() {
                        0 => Ok(LeasedOutcome::Lost),
                        _ => Ok(LeasedOutcome::Done),
                    }
                }
                .boxed()
            },
        );
        renew.await
    }

    async fn release(&self, lease: &HookLease) -> Result<(), StoreError> {
        let lease = lease.clone();
        let release = self.once(
            "outbox.release",
            StatementEffect::Repeatable,
            move |session| {
                let lease = lease.clone();
                async move {
                    let sql =
                        "UPDATE event_lease SET holder = '' WHERE hook = ? AND generation = ?";
                    let update = sqlx::query(sql)
                        .bind(lease.hook.as_str())
                        .bind(lease.generation);
                    session.run(update).await?;
                    Ok(())
                }
                .boxed()
            },
        );
        release.await
    }

    async fn remove(
        &self,
        lease: &HookLease,
        delivered: &[OutboxPosition],
    ) -> Result<LeasedOutcome, StoreError> {
        let (lease, delivered) = (lease.clone(), numbers(delivered));
        self.change("outbox.remove", WorkPace::Prompt, move |session| {
            let (lease, delivered) = (lease.clone(), Arc::clone(&delivered));
            async move {
                if !is_held(session, &lease).await? {
                    return Ok(LeasedOutcome::Lost);
                }
                remove_events(session, &lease.hook, &delivered).await?;
                Ok(LeasedOutcome::Done)
            }
            .boxed()
        })
        .await
    }

    async fn bury(
        &self,
        lease: &HookLease,
        failed: &[FailedDelivery],
        at: UnixTimestamp,
    ) -> Result<LeasedOutcome, StoreError> {
        let (lease, failed): (_, Arc<[FailedDelivery]>) = (lease.clone(), failed.into());
        self.change("outbox.bury", WorkPace::Prompt, move |session| {
            let (lease, failed) = (lease.clone(), Arc::clone(&failed));
            async move { bury(session, &lease, &failed, at).await }.boxed()
        })
        .await
    }

    async fn trim(
        &self,
        lease: &HookLease,
        keep: OutboxBounds,
    ) -> Result<OutboxBounds, StoreError> {
        Ok(OutboxBounds {
            events: self.trim_table(lease, &EVENTS, keep.events).await?,
            dead_letters: self
                .trim_table(lease, &DEAD_LETTERS, keep.dead_letters)
                .await?,
        })
    }

    async fn backlog(&self, hook: &HookName) -> Result<HookBacklog, StoreError> {
        let hook = hook.clone();
        // At the slow pace: a count of a large backlog takes longer than a call of a client may.
        self.change("outbox.backlog", WorkPace::Slow, move |session| {
            let hook = hook.clone();
            async move {
                let sql = "SELECT created_at FROM event_outbox FORCE INDEX (event_outbox_hook) \
                           WHERE hook = ? ORDER BY position LIMIT 1";
                let oldest = session.row(sqlx::query(sql).bind(hook.as_str())).await?;
                Ok(HookBacklog {
                    events: count(session, &EVENTS, &hook).await?,
                    oldest: oldest.map(|row| time(&row, 0)).transpose()?,
                    dead_letters: count(session, &DEAD_LETTERS, &hook).await?,
                })
            }
            .boxed()
        })
        .await
    }

    async fn hooks(&self) -> Result<Vec<HookName>, StoreError> {
        self.once("outbox.hooks", StatementEffect::Read, |session| {
            async move {
                let mut found = hooks_of(session, &EVENTS).await?;
                found.append(&mut hooks_of(session, &DEAD_LETTERS).await?);
                found.sort_unstable();
                found.dedup();
                Ok(found)
            }
            .boxed()
        })
        .await
    }

    async fn dead_letters(
        &self,
        hook: &HookName,
        after: Option<OutboxPosition>,
        limit: usize,
    ) -> Result<ListPage<DeadLetter>, StoreError> {
        let (hook, after, limit) = (hook.clone(), after.map_or(0, |it| it.0), limit.max(1));
        let read = self.once(
            "outbox.dead_letters",
            StatementEffect::Read,
            move |session| {
                let hook = hook.clone();
                async move {
                    let sql = "SELECT position, record, error, attempts, died_at \
                           FROM event_dead_letter WHERE hook = ? AND position > ? \
                           ORDER BY position LIMIT ?";
                    let select = sqlx::query(sql)
                        .bind(hook.as_str())
                        .bind(after)
                        .bind(limit as u64 + 1);
                    let rows = session.rows(select).await?;
                    super::page(&rows, limit, |row| {
                        Ok(DeadLetter {
                            position: OutboxPosition(number(row, 0)?),
                            event: gimlet_record::decode_event(&bytes(row, 1)?).ok(),
                            error: text(row, 2)?,
                            attempts: sqlx::Row::try_get::<u32, _>(row, 3)?,
                            died_at: time(row, 4)?,
                        })
                    })
                }
                .boxed()
            },
        );
        read.await
    }

    async fn replay(
        &self,
        hook: &HookName,
        letters: &[OutboxPosition],
    ) -> Result<usize, StoreError> {
        let (hook, letters) = (hook.clone(), numbers(letters));
        self.change("outbox.replay", WorkPace::Prompt, move |session| {
            let (hook, letters) = (hook.clone(), Arc::clone(&letters));
            async move { replay(session, &hook, &letters).await }.boxed()
        })
        .await
    }

    async fn drop_letters(
        &self,
        hook: &HookName,
        letters: &[OutboxPosition],
    ) -> Result<usize, StoreError> {
        let (hook, letters) = (hook.clone(), numbers(letters));
        let dropping = self.change("outbox.drop_letters", WorkPace::Prompt, move |session| {
            let (hook, letters) = (hook.clone(), Arc::clone(&letters));
            async move { remove_rows(session, &DEAD_LETTERS, &hook, &letters).await }.boxed()
        });
        Ok(usize::try_from(dropping.await?).unwrap_or(usize::MAX))
    }

    async fn clear(&self, hook: &HookName) -> Result<u64, StoreError> {
        let mut removed = 0;
        for table in [&EVENTS, &DEAD_LETTERS] {
            loop {
                let hook = hook.clone();
                let slice = self.change("outbox.clear", WorkPace::Slow, move |session| {
                    let hook = hook.clone();
                    async move { remove_first(session, table, &hook, SLICE_ROWS).await }.boxed()
                });
                match slice.await? {
                    0 => break,
                    count => removed += count,
                }
            }
        }
        Ok(removed)
    }
}

impl MysqlEngine {
    /// Removes the oldest rows above `keep`, in slices; returns how many.
    async fn trim_table(
        &self,
        lease: &HookLease,
        table: &'static EventTable,
        keep: u64,
    ) -> Result<u64, StoreError> {
        let hook = lease.hook.clone();
        let counted = self.change("outbox.trim", WorkPace::Slow, move |session| {
            let hook = hook.clone();
            async move { count(session, table, &hook).await }.boxed()
        });
        let (excess, mut removed) = (counted.await?.saturating_sub(keep), 0);
        while removed < excess {
            let slice = usize::try_from(excess - removed).unwrap_or(SLICE_ROWS);
            let (lease, slice) = (lease.clone(), slice.min(SLICE_ROWS));
            let trim = self.change("outbox.trim", WorkPace::Slow, move |session| {
                let lease = lease.clone();
                async move {
                    if !is_held(session, &lease).await? {
                        return Ok(0);
                    }
                    remove_first(session, table, &lease.hook, slice).await
                }
                .boxed()
            });
            match trim.await? {
                0 => break,
                count => removed += count,
            }
        }
        Ok(removed)
    }
}
