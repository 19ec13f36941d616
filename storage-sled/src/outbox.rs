//! The outbox: reads of events, leases of hooks, dead letters.
//!
//! One thread writes, so positions are in the order of the commits, and no event is committed below
//! one that a reader has seen.

use async_trait::async_trait;
use gimlet_core::events::{HookName, NewEvent};
use gimlet_core::id::NodeId;
use gimlet_core::page::{ListPage, PageLimit};
use gimlet_core::store::{
    DeadLetter, FailedDelivery, HookBacklog, HookClaimOutcome, HookLease, LeaseMark, LeasedOutcome,
    OutboxBounds, OutboxPosition, OutboxRow, OutboxStore, StoreError,
};
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::store::{DeadEvent, EventLease};

use crate::error::EngineError;
use crate::outbox_rows::{backlog, bury, claim, hooks_with, is_held, read, remove_first};
use crate::rows::SINGLE_ROW;
use crate::shared::SharedState;
use crate::space::SpaceEffect;
use crate::store::{SledStore, page};
use crate::txn::WriteTransaction;
use crate::{events, key, record};

/// Rows removed in one command, so that sends run in between.
const SLICE_ROWS: usize = 500;

#[async_trait]
impl OutboxStore for SledStore {
    async fn put(&self, events: &[NewEvent]) -> Result<(), StoreError> {
        let events = events.to_vec();
        let put = move |txn: &mut WriteTransaction<'_>| events::put(txn, &events);
        self.change("outbox.put", SpaceEffect::Adds, put).await
    }

    async fn read(
        &self,
        hook: &HookName,
        known: &[OutboxPosition],
        limit: PageLimit,
    ) -> Result<ListPage<OutboxRow>, StoreError> {
        let (hook, known) = (hook.clone(), known.to_vec());
        let read = move |shared: &SharedState| read(shared, &hook, &known, limit);
        self.with("outbox.read", read).await
    }

    async fn claim(
        &self,
        hook: &HookName,
        node: &NodeId,
        expired: Option<LeaseMark>,
    ) -> Result<HookClaimOutcome, StoreError> {
        let (hook, node) = (hook.clone(), node.name.clone());
        let claim = move |txn: &mut WriteTransaction<'_>| claim(txn, &hook, &node, expired);
        self.change("outbox.claim", SpaceEffect::Sets, claim).await
    }

    async fn renew(&self, lease: &HookLease) -> Result<LeasedOutcome, StoreError> {
        self.leased("outbox.renew", SpaceEffect::Sets, lease, |txn, lease| {
            let name = key::hook_lease(&lease.hook);
            let mut row: EventLease = txn.get(&name)?.unwrap_or_default();
            row.beat += 1;
            txn.put(&name, &row)
        })
        .await
    }

    async fn release(&self, lease: &HookLease) -> Result<(), StoreError> {
        let released = self.leased(
            "outbox.release",
            SpaceEffect::Removes,
            lease,
            |txn, lease| {
                let name = key::hook_lease(&lease.hook);
                let mut row: EventLease = txn.get(&name)?.unwrap_or_default();
                row.holder.clear();
                txn.put(&name, &row)
            },
        );
        released.await.map(|_| ())
    }

    async fn remove(
        &self,
        lease: &HookLease,
        delivered: &[OutboxPosition],
    ) -> Result<LeasedOutcome, StoreError> {
        let delivered = delivered.to_vec();
        self.leased(
            "outbox.remove",
            SpaceEffect::Removes,
            lease,
            move |txn, lease| {
                for position in &delivered {
                    txn.remove(&key::hook_row(key::EVENTS, &lease.hook, *position))?;
                }
                Ok(())
            },
        )
        .await
    }

    async fn bury(
        &self,
        lease: &HookLease,
        failed: &[FailedDelivery],
        at: UnixTimestamp,
    ) -> Result<LeasedOutcome, StoreError> {
        let failed = failed.to_vec();
        self.leased(
            "outbox.bury",
            SpaceEffect::Sets,
            lease,
            move |txn, lease| {
                for failure in &failed {
                    bury(txn, &lease.hook, failure, at)?;
                }
                Ok(())
            },
        )
        .await
    }

    async fn trim(
        &self,
        lease: &HookLease,
        keep: OutboxBounds,
    ) -> Result<OutboxBounds, StoreError> {
        let stored = self.backlog(&lease.hook).await?;
        let events = stored.events.saturating_sub(keep.events);
        let dead = stored.dead_letters.saturating_sub(keep.dead_letters);
        Ok(OutboxBounds {
            events: self.trim_rows(lease, key::EVENTS, events).await?,
            dead_letters: self.trim_rows(lease, key::DEAD_EVENTS, dead).await?,
        })
    }

    async fn backlog(&self, hook: &HookName) -> Result<HookBacklog, StoreError> {
        let hook = hook.clone();
        self.with("outbox.backlog", move |shared| backlog(shared, &hook))
            .await
    }

    async fn hooks(&self) -> Result<Vec<HookName>, StoreError> {
        self.read("outbox.hooks", |rows| {
            let mut found = hooks_with(rows, key::EVENTS)?;
            found.append(&mut hooks_with(rows, key::DEAD_EVENTS)?);
            found.sort_unstable();
            found.dedup();
            Ok(found)
        })
        .await
    }

    async fn dead_letters(
        &self,
        hook: &HookName,
        after: Option<OutboxPosition>,
        limit: usize,
    ) -> Result<ListPage<DeadLetter>, StoreError> {
        let hook = hook.clone();
        let read = self.read("outbox.dead_letters", move |rows| {
            let behind = after.map(|it| key::hook_row(key::DEAD_EVENTS, &hook, it));
            let prefix = key::hook_rows(key::DEAD_EVENTS, &hook);
            let letters = rows.scan(&prefix, behind.as_deref()).map(|found| {
                let (name, value) = found?;
                let row: DeadEvent = rows.decode(&name, &value)?;
                Ok(DeadLetter {
                    position: OutboxPosition(record::key_number(&name)?),
                    event: gimlet_record::decode_event(&row.event).ok(),
                    error: row.error,
                    attempts: row.attempts,
                    died_at: UnixTimestamp(row.died_ms),
                })
            });
            page(letters, limit)
        });
        read.await
    }

    async fn replay(
        &self,
        hook: &HookName,
        letters: &[OutboxPosition],
    ) -> Result<usize, StoreError> {
        let (hook, mut letters) = (hook.clone(), letters.to_vec());
        letters.sort_unstable();
        let replay = move |txn: &mut WriteTransaction<'_>| {
            let mut moved = 0;
            for position in &letters {
                let name = key::hook_row(key::DEAD_EVENTS, &hook, *position);
                let Some(row) = txn.get::<DeadEvent>(&name)? else {
                    continue;
                };
                txn.remove(&name)?;
                let mut value = vec![SINGLE_ROW];
                value.extend_from_slice(&row.event);
                events::push_value(txn, &hook, value)?;
                moved += 1;
            }
            Ok(moved)
        };
        self.change("outbox.replay", SpaceEffect::Adds, replay)
            .await
    }

    async fn drop_letters(
        &self,
        hook: &HookName,
        letters: &[OutboxPosition],
    ) -> Result<usize, StoreError> {
        let (hook, letters) = (hook.clone(), letters.to_vec());
        let remove = move |txn: &mut WriteTransaction<'_>| {
            let mut count = 0;
            for position in &letters {
                let name = key::hook_row(key::DEAD_EVENTS, &hook, *position);
                if txn.has(&name)? {
                    txn.remove(&name)?;
                    count += 1;
                }
            }
            Ok(count)
        };
        self.change("outbox.drop_letters", SpaceEffect::Removes, remove)
            .await
    }

    async fn clear(&self, hook: &HookName) -> Result<u64, StoreError> {
        let mut removed = 0;
        for kind in [key::EVENTS, key::DEAD_EVENTS] {
            loop {
                let hook = hook.clone();
                let slice = move |txn: &mut WriteTransaction<'_>| {
                    remove_first(txn, kind, &hook, SLICE_ROWS)
                };
                let slice = self.change("outbox.clear", SpaceEffect::Removes, slice);
                match slice.await? {
                    0 => break,
                    count => removed += count,
                }
            }
        }
        Ok(removed)
    }
}

impl SledStore {
    /// Makes a change that needs the lease.
    async fn leased(
        &self,
        op: &'static str,
        space: SpaceEffect,
        lease: &HookLease,
        change: impl FnOnce(&mut WriteTransaction<'_>, &HookLease) -> Result<(), EngineError>
        + Send
        + 'static,
    ) -> Result<LeasedOutcome, StoreError> {
        let lease = lease.clone();
        let change = move |txn: &mut WriteTransaction<'_>| {
            if !is_held(txn, &lease)? {
                return Ok(LeasedOutcome::Lost);
            }
            change(txn, &lease)?;
            Ok(LeasedOutcome::Done)
        };
        self.change(op, space, change).await
    }

    /// Removes the first `rows` rows of a kind; returns how many were removed.
    async fn trim_rows(&self, lease: &HookLease, kind: u8, rows: u64) -> Result<u64, StoreError> {
        let mut removed = 0;
        while removed < rows {
            let slice = usize::try_from(rows - removed).map_or(SLICE_ROWS, |it| it.min(SLICE_ROWS));
            let lease = lease.clone();
            let trim = move |txn: &mut WriteTransaction<'_>| {
                if !is_held(txn, &lease)? {
                    return Ok(0);
                }
                remove_first(txn, kind, &lease.hook, slice)
            };
            match self
                .change("outbox.trim", SpaceEffect::Removes, trim)
                .await?
            {
                0 => break,
                count => removed += count,
            }
        }
        Ok(removed)
    }
}
