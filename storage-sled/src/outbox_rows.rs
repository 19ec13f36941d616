//! Reads and changes of the outbox's rows: events, dead letters and leases.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use gimlet_core::events::{HookEvent, HookName};
use gimlet_core::page::{ListPage, PageLimit};
use gimlet_core::store::{
    FailedDelivery, HookBacklog, HookClaimOutcome, HookLease, LeaseMark, OutboxPosition, OutboxRow,
    cut_error,
};
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::store::{DeadEvent, EventLease};
use sled::IVec;

use crate::error::EngineError;
use crate::rows::RowView;
use crate::shared::SharedState;
use crate::txn::WriteTransaction;
use crate::{key, record};

/// Reads the first events that are not known, up to the last durable position.
pub(crate) fn read(
    shared: &SharedState,
    hook: &HookName,
    known: &[OutboxPosition],
    limit: PageLimit,
) -> Result<ListPage<OutboxRow>, EngineError> {
    // Read before the rows: what is durable by now is all in the tree.
    let last = shared.last_event.load(Ordering::Acquire);
    let page = |rows: &RowView<'_>| rows_up_to(rows, hook, known, limit, last);
    match shared.settled(page) {
        // The event was removed between the read of its first row and that of its others.
        Err(EngineError::Corrupt(_)) => shared.durable(page),
        done => done,
    }
}

fn rows_up_to(
    rows: &RowView<'_>,
    hook: &HookName,
    known: &[OutboxPosition],
    limit: PageLimit,
    last: u64,
) -> Result<ListPage<OutboxRow>, EngineError> {
    let (mut items, mut bytes) = (Vec::new(), 0);
    for row in rows.scan(&key::hook_rows(key::EVENTS, hook), None) {
        let (name, value) = row?;
        let position = OutboxPosition(record::key_number(&name)?);
        if position.0 > last {
            break;
        }
        if known.binary_search(&position).is_ok() {
            continue;
        }
        if !items.is_empty() && (items.len() >= limit.items || bytes > limit.bytes) {
            return Ok(ListPage { items, more: true });
        }
        let value = rows.value_shared(&name, Bytes::copy_from_slice(&value))?;
        bytes += value.len();
        let event = gimlet_record::decode_event(&value).ok();
        items.push(OutboxRow { position, event });
    }
    Ok(ListPage::last(items))
}

/// Claims the delivery of a hook for a node.
pub(crate) fn claim(
    txn: &mut WriteTransaction<'_>,
    hook: &HookName,
    node: &str,
    expired: Option<LeaseMark>,
) -> Result<HookClaimOutcome, EngineError> {
    let name = key::hook_lease(hook);
    let row: EventLease = txn.get(&name)?.unwrap_or_default();
    let mark = LeaseMark {
        generation: row.generation,
        beat: row.beat,
    };
    let elsewhere = !row.holder.is_empty() && row.holder != node;
    if elsewhere && expired != Some(mark) {
        return Ok(HookClaimOutcome::Held(mark));
    }
    let generation = row.generation + 1;
    let row = EventLease {
        generation,
        beat: 0,
        holder: node.to_owned(),
    };
    txn.put(&name, &row)?;
    let hook = hook.clone();
    Ok(HookClaimOutcome::Claimed(HookLease { hook, generation }))
}

/// Returns true if the lease is in force.
pub(crate) fn is_held(txn: &WriteTransaction<'_>, lease: &HookLease) -> Result<bool, EngineError> {
    let row: Option<EventLease> = txn.get(&key::hook_lease(&lease.hook))?;
    Ok(row.is_some_and(|it| it.generation == lease.generation && !it.holder.is_empty()))
}

/// Moves an event to the dead letters.
pub(crate) fn bury(
    txn: &mut WriteTransaction<'_>,
    hook: &HookName,
    failure: &FailedDelivery,
    at: UnixTimestamp,
) -> Result<(), EngineError> {
    let name = key::hook_row(key::EVENTS, hook, failure.position);
    let Some(raw) = txn.rows().raw(&name)? else {
        return Ok(());
    };
    let event = txn
        .rows()
        .value_shared(&name, Bytes::copy_from_slice(&raw))?;
    let letter = DeadEvent {
        event,
        error: cut_error(&failure.error).to_owned(),
        attempts: failure.attempts,
        died_ms: record::ms(at),
    };
    txn.remove(&name)?;
    let name = key::hook_row(key::DEAD_EVENTS, hook, failure.position);
    txn.put(&name, &letter)
}

/// Removes the first rows of a kind; returns how many there were.
pub(crate) fn remove_first(
    txn: &mut WriteTransaction<'_>,
    kind: u8,
    hook: &HookName,
    max: usize,
) -> Result<u64, EngineError> {
    let names: Vec<IVec> = txn
        .rows()
        .scan(&key::hook_rows(kind, hook), None)
        .take(max)
        .map(|row| row.map(|(name, _)| name))
        .collect::<Result<_, _>>()?;
    for name in &names {
        txn.remove(name)?;
    }
    Ok(names.len() as u64)
}

/// Counts the rows of a hook.
pub(crate) fn backlog(shared: &SharedState, hook: &HookName) -> Result<HookBacklog, EngineError> {
    let first = read(shared, hook, &[], PageLimit::items(1))?;
    // Counted without the lock, which would hold up the writer: a count of rows that change is an
    // estimate anyway.
    shared.settled(|rows| {
        let count = |kind| {
            let mut counted = 0;
            for row in rows.scan(&key::hook_rows(kind, hook), None) {
                row?;
                counted += 1;
            }
            Ok::<u64, EngineError>(counted)
        };
        let at = |row: &OutboxRow| row.event.as_ref().map(|event: &HookEvent| event.at);
        Ok(HookBacklog {
            events: count(key::EVENTS)?,
            oldest: first.items.first().and_then(at),
            dead_letters: count(key::DEAD_EVENTS)?,
        })
    })
}

/// Returns the hooks that have rows of a kind, and looks at one row of each.
pub(crate) fn hooks_with(rows: &RowView<'_>, kind: u8) -> Result<Vec<HookName>, EngineError> {
    let mut found: Vec<HookName> = Vec::new();
    let mut behind = None;
    while let Some(row) = rows.scan(&[kind], behind.as_deref()).next() {
        let (name, _) = row?;
        let hook = key::hook_name(&name).and_then(|name| HookName::new(name).ok());
        let hook = hook.ok_or(EngineError::Corrupt("an event's hook has no valid name"))?;
        behind = Some(key::hook_row(kind, &hook, OutboxPosition(u64::MAX)));
        found.push(hook);
    }
    Ok(found)
}
