//! Events of hooks: queues, leases and dead letters.

use async_trait::async_trait;

use crate::events::{HookName, NewEvent};
use crate::id::NodeId;
use crate::memory::helpers::{above, page};
use crate::memory::outbox_queue::weight;
use crate::memory::state::MemoryEngine;
use crate::page::{ListPage, PageLimit};
use crate::store::{
    DeadLetter, FailedDelivery, HookBacklog, HookClaimOutcome, HookLease, LeaseMark, LeasedOutcome,
    OutboxBounds, OutboxPosition, OutboxRow, OutboxStore, StoreError, cut_error,
};
use crate::time::UnixTimestamp;

/// Maximum number of rows removed under one hold of the lock.
const SLICE_ROWS: usize = 1_000;

#[async_trait]
impl OutboxStore for MemoryEngine {
    async fn put(&self, events: &[NewEvent]) -> Result<(), StoreError> {
        self.lock().outbox.put(events);
        Ok(())
    }

    async fn read(
        &self,
        hook: &HookName,
        known: &[OutboxPosition],
        limit: PageLimit,
    ) -> Result<ListPage<OutboxRow>, StoreError> {
        let state = self.lock();
        let Some(queue) = state.outbox.get(hook) else {
            return Ok(ListPage::default());
        };
        let mut items = Vec::new();
        let mut bytes = 0;
        for (position, event) in &queue.events {
            if known.binary_search(position).is_ok() {
                continue;
            }
            if !items.is_empty() && (items.len() >= limit.items || bytes > limit.bytes) {
                return Ok(ListPage { items, more: true });
            }
            bytes += weight(event);
            items.push(OutboxRow {
                position: *position,
                event: Some(event.clone()),
            });
        }
        Ok(ListPage::last(items))
    }

    async fn claim(
        &self,
        hook: &HookName,
        node: &NodeId,
        expired: Option<LeaseMark>,
    ) -> Result<HookClaimOutcome, StoreError> {
        let mut state = self.lock();
        let lease = &mut state.outbox.entry(hook).lease;
        let elsewhere = lease.holder.as_ref().is_some_and(|it| *it != node.name);
        if elsewhere && expired != Some(lease.mark) {
            return Ok(HookClaimOutcome::Held(lease.mark));
        }
        let generation = lease.mark.generation + 1;
        lease.mark = LeaseMark {
            generation,
            beat: 0,
        };
        lease.holder = Some(node.name.clone());
        Ok(HookClaimOutcome::Claimed(HookLease {
            hook: hook.clone(),
            generation,
        }))
    }

    async fn renew(&self, lease: &HookLease) -> Result<LeasedOutcome, StoreError> {
        let mut state = self.lock();
        let Some(queue) = state.outbox.leased(lease) else {
            return Ok(LeasedOutcome::Lost);
        };
        queue.lease.mark.beat += 1;
        Ok(LeasedOutcome::Done)
    }

    async fn release(&self, lease: &HookLease) -> Result<(), StoreError> {
        if let Some(queue) = self.lock().outbox.leased(lease) {
            queue.lease.holder = None;
        }
        Ok(())
    }

    async fn remove(
        &self,
        lease: &HookLease,
        delivered: &[OutboxPosition],
    ) -> Result<LeasedOutcome, StoreError> {
        let mut state = self.lock();
        let Some(queue) = state.outbox.leased(lease) else {
            return Ok(LeasedOutcome::Lost);
        };
        for position in delivered {
            queue.take(*position);
        }
        Ok(LeasedOutcome::Done)
    }

    async fn bury(
        &self,
        lease: &HookLease,
        failed: &[FailedDelivery],
        at: UnixTimestamp,
    ) -> Result<LeasedOutcome, StoreError> {
        let mut state = self.lock();
        let Some(queue) = state.outbox.leased(lease) else {
            return Ok(LeasedOutcome::Lost);
        };
        for failure in failed {
            let Some(event) = queue.take(failure.position) else {
                continue;
            };
            let letter = DeadLetter {
                position: failure.position,
                event: Some(event),
                error: cut_error(&failure.error).to_owned(),
                attempts: failure.attempts,
                died_at: at,
            };
            queue.dead.insert(failure.position, letter);
        }
        Ok(LeasedOutcome::Done)
    }

    async fn trim(
        &self,
        lease: &HookLease,
        keep: OutboxBounds,
    ) -> Result<OutboxBounds, StoreError> {
        let mut removed = OutboxBounds {
            events: 0,
            dead_letters: 0,
        };
        loop {
            let done = {
                let mut state = self.lock();
                let Some(queue) = state.outbox.leased(lease) else {
                    return Ok(removed);
                };
                let mut left = SLICE_ROWS;
                while left > 0 && queue.events.len() as u64 > keep.events {
                    queue.take_first();
                    removed.events += 1;
                    left -= 1;
                }
                while left > 0 && queue.dead.len() as u64 > keep.dead_letters {
                    queue.dead.pop_first();
                    removed.dead_letters += 1;
                    left -= 1;
                }
                left > 0
            };
            if done {
                return Ok(removed);
            }
            tokio::task::yield_now().await;
        }
    }

    async fn backlog(&self, hook: &HookName) -> Result<HookBacklog, StoreError> {
        let state = self.lock();
        let Some(queue) = state.outbox.get(hook) else {
            return Ok(HookBacklog::default());
        };
        Ok(HookBacklog {
            events: queue.events.len() as u64,
            oldest: queue.events.values().next().map(|event| event.at),
            dead_letters: queue.dead.len() as u64,
        })
    }

    async fn hooks(&self) -> Result<Vec<HookName>, StoreError> {
        Ok(self.lock().outbox.names())
    }

    async fn dead_letters(
        &self,
        hook: &HookName,
        after: Option<OutboxPosition>,
        limit: usize,
    ) -> Result<ListPage<DeadLetter>, StoreError> {
        let state = self.lock();
        let Some(queue) = state.outbox.get(hook) else {
            return Ok(ListPage::default());
        };
        let letters = queue.dead.range(above(after)).map(|(_, letter)| letter);
        Ok(page(letters.cloned(), limit))
    }

    async fn replay(
        &self,
        hook: &HookName,
        letters: &[OutboxPosition],
    ) -> Result<usize, StoreError> {
        let mut letters = letters.to_vec();
        letters.sort_unstable();
        let mut state = self.lock();
        let mut moved = 0;
        for position in letters {
            let queue = state.outbox.get_mut(hook);
            let letter = queue.and_then(|queue| queue.dead.remove(&position));
            if let Some(event) = letter.and_then(|letter| letter.event) {
                state.outbox.push(hook, event);
                moved += 1;
            }
        }
        Ok(moved)
    }

    async fn drop_letters(
        &self,
        hook: &HookName,
        letters: &[OutboxPosition],
    ) -> Result<usize, StoreError> {
        let mut state = self.lock();
        let Some(queue) = state.outbox.get_mut(hook) else {
            return Ok(0);
        };
        let removed_letters = letters
            .iter()
            .filter_map(|position| queue.dead.remove(position));
        Ok(removed_letters.count())
    }

    async fn clear(&self, hook: &HookName) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let before = removed;
            if let Some(queue) = self.lock().outbox.get_mut(hook) {
                for _ in 0..SLICE_ROWS {
                    let has_removed =
                        queue.take_first().is_some() || queue.dead.pop_first().is_some();
                    removed += u64::from(has_removed);
                }
            }
            if removed == before {
                return Ok(removed);
            }
            tokio::task::yield_now().await;
        }
    }
}
