//! Reads the first events of a hook.

use std::collections::{BTreeMap, BTreeSet};

use gimlet_core::events::HookName;
use gimlet_core::page::{ListPage, PageLimit};
use gimlet_core::store::{OutboxPosition, OutboxRow};

use super::session::{MysqlSession, bytes, number};
use crate::error::EngineError;

/// Records read in one statement: a page overshoots its limit of bytes by fewer than these.
const RECORDS_PER_STATEMENT: usize = 32;

/// Attempts to read positions without a hole.
const POSITION_TRIES: usize = 5;

/// Reads the first events that are not in `known`.
pub(super) async fn read(
    session: &mut MysqlSession,
    hook: &HookName,
    known: &[OutboxPosition],
    limit: PageLimit,
) -> Result<ListPage<OutboxRow>, EngineError> {
    let max = known.len().saturating_add(limit.items.max(1));
    let (positions, more) = positions(session, hook, max).await?;
    let unknown = |it: &&u64| known.binary_search(&OutboxPosition(**it)).is_err();
    let wanted: Vec<u64> = positions.iter().filter(unknown).copied().collect();
    let mut page = ListPage {
        items: Vec::with_capacity(wanted.len()),
        more,
    };
    let mut taken = 0;
    for part in wanted.chunks(RECORDS_PER_STATEMENT) {
        let head = "SELECT position, record FROM event_outbox FORCE INDEX (PRIMARY) \
                    WHERE position IN (";
        let mut records = BTreeMap::new();
        for row in session.rows_in(head, part, ")").await? {
            records.insert(number(&row, 0)?, bytes(&row, 1)?);
        }
        // A position without a record was removed meanwhile.
        for (position, record) in records {
            if page.items.len() >= limit.items.max(1) || taken > limit.bytes {
                page.more = true;
                return Ok(page);
            }
            taken += record.len();
            page.items.push(OutboxRow {
                position: OutboxPosition(position),
                event: gimlet_record::decode_event(&record).ok(),
            });
        }
    }
    Ok(page)
}

/// Returns the first positions of the hook, and whether there are more.
///
/// No position may be returned without the earlier ones of the same receiver. Those were committed
/// before it was taken (`events`), so one snapshot that shows it should show them. But a snapshot of
/// MariaDB may show a later commit without an earlier one (`PageBounds` in `inbox`). By the time the
/// first read has ended, every such commit is complete, so a second read with a snapshot of its own
/// shows them: positions from the first one on that only the second read has found are not
/// returned.
async fn positions(
    session: &mut MysqlSession,
    hook: &HookName,
    max: usize,
) -> Result<(BTreeSet<u64>, bool), EngineError> {
    for _ in 0..POSITION_TRIES {
        let first = read_positions(session, hook, max + 1, u64::MAX).await?;
        let Some(last) = first.last().copied() else {
            return Ok((first, false));
        };
        let second = read_positions(session, hook, usize::MAX, last).await?;
        let mut whole = first.clone();
        let late = second.difference(&first).next().copied();
        if let Some(late) = late {
            drop(whole.split_off(&late));
        }
        let more = late.is_some() || whole.len() > max;
        while whole.len() > max {
            whole.pop_last();
        }
        if !whole.is_empty() {
            return Ok((whole, more));
        }
    }
    // The hook is written faster than it is read; the next read finds a moment.
    Ok((BTreeSet::new(), true))
}

async fn read_positions(
    session: &mut MysqlSession,
    hook: &HookName,
    max: usize,
    upto: u64,
) -> Result<BTreeSet<u64>, EngineError> {
    let sql = "SELECT position FROM event_outbox FORCE INDEX (event_outbox_hook) \
               WHERE hook = ? AND position <= ? ORDER BY position LIMIT ?";
    let select = sqlx::query(sql)
        .bind(hook.as_str())
        .bind(upto)
        .bind(max as u64);
    let rows = session.rows(select).await?;
    rows.iter().map(|row| number(row, 0)).collect()
}
