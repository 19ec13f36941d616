//! Transactions on the outbox: the lease, and rows of events and of dead letters.

use std::sync::Arc;

use gimlet_core::events::HookName;
use gimlet_core::store::{
    FailedDelivery, HookClaimOutcome, HookLease, LeaseMark, LeasedOutcome, OutboxPosition,
    cut_error,
};
use gimlet_core::time::UnixTimestamp;

use super::chunks;
use super::events::{EventRow, put_rows};
use super::session::{MysqlSession, bytes, number, text, time};
use crate::error::EngineError;

/// A table with rows of hooks.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventTable {
    pub(super) name: &'static str,
    /// Its key that begins with the hook.
    pub(super) by_hook: &'static str,
}

/// The events that wait.
pub(super) const EVENTS: EventTable = EventTable {
    name: "event_outbox",
    by_hook: "event_outbox_hook",
};

/// The events that were given up.
pub(super) const DEAD_LETTERS: EventTable = EventTable {
    name: "event_dead_letter",
    by_hook: "PRIMARY",
};

/// Returns positions in the order in which rows are locked.
pub(super) fn numbers(positions: &[OutboxPosition]) -> Arc<[u64]> {
    let mut numbers: Vec<u64> = positions.iter().map(|it| it.0).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.into()
}

/// Claims the delivery of a hook for a node.
pub(super) async fn claim(
    session: &mut MysqlSession,
    hook: &HookName,
    node: &str,
    expired: Option<LeaseMark>,
) -> Result<HookClaimOutcome, EngineError> {
    // The row exists afterwards, and this session has locked it.
    let sql = "INSERT INTO event_lease (hook, generation, beat, holder) VALUES (?, 0, 0, '') \
               ON DUPLICATE KEY UPDATE hook = hook";
    session.run(sqlx::query(sql).bind(hook.as_str())).await?;
    let sql = "SELECT generation, beat, holder FROM event_lease WHERE hook = ? FOR UPDATE";
    let row = session.row(sqlx::query(sql).bind(hook.as_str())).await?;
    let row = row.ok_or(EngineError::Corrupt("the lease of a hook is missing"))?;
    let mark = LeaseMark {
        generation: number(&row, 0)?,
        beat: number(&row, 1)?,
    };
    let holder = text(&row, 2)?;
    let elsewhere = !holder.is_empty() && holder != node;
    if elsewhere && expired != Some(mark) {
        return Ok(HookClaimOutcome::Held(mark));
    }
    let generation = mark.generation + 1;
    let sql = "UPDATE event_lease SET generation = ?, beat = 0, holder = ? WHERE hook = ?";
    let update = sqlx::query(sql)
        .bind(generation)
        .bind(node)
        .bind(hook.as_str());
    session.run(update).await?;
    let hook = hook.clone();
    Ok(HookClaimOutcome::Claimed(HookLease { hook, generation }))
}

/// Locks the lease and returns whether it is in force: a claim by another node waits until this
/// transaction has ended.
pub(super) async fn is_held(
    session: &mut MysqlSession,
    lease: &HookLease,
) -> Result<bool, EngineError> {
    let sql = "SELECT generation, holder FROM event_lease WHERE hook = ? FOR UPDATE";
    let select = sqlx::query(sql).bind(lease.hook.as_str());
    match session.row(select).await? {
        Some(row) => Ok(number(&row, 0)? == lease.generation && !text(&row, 1)?.is_empty()),
        None => Ok(false),
    }
}

/// Moves events to the dead letters, if the lease is in force.
pub(super) async fn bury(
    session: &mut MysqlSession,
    lease: &HookLease,
    failed: &[FailedDelivery],
    at: UnixTimestamp,
) -> Result<LeasedOutcome, EngineError> {
    if !is_held(session, lease).await? {
        return Ok(LeasedOutcome::Lost);
    }
    let hook = lease.hook.as_str();
    for failure in failed {
        let sql = "INSERT INTO event_dead_letter \
                   (hook, position, created_at, died_at, attempts, error, record) \
                   SELECT hook, position, created_at, ?, ?, ?, record FROM event_outbox \
                   WHERE position = ? AND hook = ?";
        let insert = sqlx::query(sql)
            .bind(at.0)
            .bind(failure.attempts)
            .bind(cut_error(&failure.error))
            .bind(failure.position.0)
            .bind(hook);
        session.run(insert).await?;
    }
    let positions: Vec<OutboxPosition> = failed.iter().map(|it| it.position).collect();
    remove_events(session, &lease.hook, &numbers(&positions)).await?;
    Ok(LeasedOutcome::Done)
}

/// Moves dead letters to the end of the queue; returns how many there were.
pub(super) async fn replay(
    session: &mut MysqlSession,
    hook: &HookName,
    letters: &[u64],
) -> Result<usize, EngineError> {
    let mut rows = Vec::with_capacity(letters.len());
    for letter in letters {
        // Locked, so that another replay of the same letter waits and then finds none.
        let sql = "SELECT created_at, record FROM event_dead_letter \
                   WHERE hook = ? AND position = ? FOR UPDATE";
        let select = sqlx::query(sql).bind(hook.as_str()).bind(letter);
        if let Some(row) = session.row(select).await? {
            rows.push(EventRow {
                hook: hook.clone(),
                created_at: time(&row, 0)?,
                record: bytes(&row, 1)?,
            });
        }
    }
    put_rows(session, &rows).await?;
    remove_rows(session, &DEAD_LETTERS, hook, letters).await?;
    Ok(rows.len())
}

/// Removes events that were delivered.
pub(super) async fn remove_events(
    session: &mut MysqlSession,
    hook: &HookName,
    positions: &[u64],
) -> Result<(), EngineError> {
    remove_rows(session, &EVENTS, hook, positions)
        .await
        .map(|_| ())
}

/// Removes rows by the primary key; returns how many there were. A plan by another key could wait
/// for rows of sends in progress.
pub(super) async fn remove_rows(
    session: &mut MysqlSession,
    table: &EventTable,
    hook: &HookName,
    positions: &[u64],
) -> Result<u64, EngineError> {
    let name = table.name;
    let head = format!(
        "DELETE t FROM {name} t FORCE INDEX (PRIMARY) WHERE t.hook = ? AND t.position IN ("
    );
    let mut removed = 0;
    for chunk in chunks::padded_chunks(positions.len()) {
        let mut delete = sqlx::query(chunks::text(&head, "?", chunk.size(), ")"));
        delete = delete.bind(hook.as_str());
        for (at, _) in chunk.rows() {
            delete = delete.bind(positions.get(at).copied());
        }
        removed += session.run(delete).await?.rows_affected();
    }
    Ok(removed)
}

/// Removes the first rows of a hook; returns how many there were.
pub(super) async fn remove_first(
    session: &mut MysqlSession,
    table: &EventTable,
    hook: &HookName,
    max: usize,
) -> Result<u64, EngineError> {
    let EventTable { name, by_hook } = table;
    let sql = format!(
        "SELECT position FROM {name} FORCE INDEX ({by_hook}) WHERE hook = ? \
         ORDER BY position LIMIT ?"
    );
    let select = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(hook.as_str())
        .bind(max as u64);
    let rows = session.rows(select).await?;
    let positions: Vec<u64> = rows
        .iter()
        .map(|row| number(row, 0))
        .collect::<Result<_, _>>()?;
    remove_rows(session, table, hook, &positions).await
}

/// Counts the rows of a hook.
pub(super) async fn count(
    session: &mut MysqlSession,
    table: &EventTable,
    hook: &HookName,
) -> Result<u64, EngineError> {
    let EventTable { name, by_hook } = table;
    let sql = format!("SELECT COUNT(*) FROM {name} FORCE INDEX ({by_hook}) WHERE hook = ?");
    let select = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(hook.as_str());
    let row = session.row(select).await?;
    let row = row.ok_or(EngineError::Corrupt("a count has no row"))?;
    let counted = sqlx::Row::try_get::<i64, _>(&row, 0)?;
    Ok(counted.unsigned_abs())
}

/// Returns the hooks that have rows in a table; one look-up for each.
pub(super) async fn hooks_of(
    session: &mut MysqlSession,
    table: &EventTable,
) -> Result<Vec<HookName>, EngineError> {
    let EventTable { name, by_hook } = table;
    let sql = format!(
        "SELECT hook FROM {name} FORCE INDEX ({by_hook}) WHERE hook > ? ORDER BY hook LIMIT 1"
    );
    let (mut found, mut last) = (Vec::new(), String::new());
    loop {
        let select = sqlx::query(sqlx::AssertSqlSafe(sql.clone())).bind(last.clone());
        let Some(row) = session.row(select).await? else {
            return Ok(found);
        };
        last = text(&row, 0)?;
        let hook = HookName::new(&last);
        found.push(hook.map_err(|_| EngineError::Corrupt("an event's hook has no valid name"))?);
    }
}
