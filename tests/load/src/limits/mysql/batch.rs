//! Batched sends: many rows per statement, many sends per transaction.

use std::collections::BTreeMap;

use sqlx::mysql::{MySql, MySqlPool};
use sqlx::{Row as _, Transaction};

use super::database::{BODY, GROUP_ROWS, MEMBERS, pair, rows};
use crate::measured_limit::ProbeOutcome;

/// Sends of one transaction.
const SENDS: u64 = 512;

/// Maximum number of rows in one statement.
const ROWS: usize = 1_000;

/// Makes 512 sends to two users each; returns the number of sends.
pub(super) async fn sends(pool: &MySqlPool, lane: u64, n: u64) -> ProbeOutcome<u64> {
    some(pool, lane, n, SENDS).await
}

/// Makes `sends` sends to two users each, in one transaction.
pub(super) async fn some(pool: &MySqlPool, lane: u64, n: u64, sends: u64) -> ProbeOutcome<u64> {
    let pairs: Vec<[u64; 2]> = (0..sends).map(|k| pair(lane, n * sends + k)).collect();
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for user in pairs.iter().flatten() {
        *counts.entry(*user).or_default() += 1;
    }
    let mut transaction = pool.begin().await?;
    let mut heads = take(&mut transaction, &counts).await?;
    let first = put_messages(&mut transaction, pairs.len()).await?;
    let mut entries = Vec::new();
    for (message, users) in (first..).zip(&pairs) {
        for user in users {
            let seq = heads
                .get_mut(user)
                .ok_or("a head that was just raised is not there")?;
            *seq += 1;
            entries.push((*user, *seq, message));
        }
    }
    put_entries(&mut transaction, entries).await?;
    transaction.commit().await?;
    Ok(sends)
}

/// Sends one message to the group of this worker; returns the number of rows.
pub(super) async fn group(pool: &MySqlPool, lane: u64) -> ProbeOutcome<u64> {
    let counts = (lane * MEMBERS..(lane + 1) * MEMBERS)
        .map(|user| (user, 1))
        .collect();
    let mut transaction = pool.begin().await?;
    let heads = take(&mut transaction, &counts).await?;
    let message = put_messages(&mut transaction, 1).await?;
    let entries = heads
        .iter()
        .map(|(user, seq)| (*user, seq + 1, message))
        .collect();
    put_entries(&mut transaction, entries).await?;
    transaction.commit().await?;
    Ok(GROUP_ROWS)
}

/// Raises each head by its count; returns the heads before.
async fn take(
    transaction: &mut Transaction<'static, MySql>,
    counts: &BTreeMap<u64, u64>,
) -> ProbeOutcome<BTreeMap<u64, u64>> {
    let counts_in_order: Vec<(u64, u64)> = counts.iter().map(|(user, n)| (*user, *n)).collect();
    let mut heads = BTreeMap::new();
    for piece in counts_in_order.chunks(ROWS) {
        let mut upsert = sqlx::query(rows(
            "INSERT INTO limit_head (user_id, seq) VALUES ",
            "(?, ?)",
            piece.len(),
            " ON DUPLICATE KEY UPDATE seq = seq + VALUES(seq)",
        ));
        for (user, n) in piece {
            upsert = upsert.bind(*user).bind(*n);
        }
        upsert.execute(&mut **transaction).await?;
    }
    for piece in counts_in_order.chunks(ROWS) {
        let mut select = sqlx::query(rows(
            "SELECT user_id, seq FROM limit_head WHERE user_id IN (",
            "?",
            piece.len(),
            ") FOR UPDATE",
        ));
        for (user, _) in piece {
            select = select.bind(*user);
        }
        for row in select.fetch_all(&mut **transaction).await? {
            let (user, seq): (u64, u64) = (row.try_get(0)?, row.try_get(1)?);
            heads.insert(user, seq - counts.get(&user).copied().unwrap_or_default());
        }
    }
    Ok(heads)
}

/// Stores `n` messages; returns the id of the first. Their ids are consecutive.
async fn put_messages(
    transaction: &mut Transaction<'static, MySql>,
    n: usize,
) -> ProbeOutcome<u64> {
    let mut insert = sqlx::query(rows(
        "INSERT INTO limit_message (body) VALUES ",
        "(?)",
        n,
        "",
    ));
    for _ in 0..n {
        insert = insert.bind([7_u8; BODY].as_slice());
    }
    Ok(insert.execute(&mut **transaction).await?.last_insert_id())
}

async fn put_entries(
    transaction: &mut Transaction<'static, MySql>,
    mut entries: Vec<(u64, u64, u64)>,
) -> ProbeOutcome<()> {
    entries.sort_unstable();
    for piece in entries.chunks(ROWS) {
        let mut insert = sqlx::query(rows(
            "INSERT INTO limit_entry (user_id, seq, message) VALUES ",
            "(?, ?, ?)",
            piece.len(),
            "",
        ));
        for (user, seq, message) in piece {
            insert = insert.bind(*user).bind(*seq).bind(*message);
        }
        insert.execute(&mut **transaction).await?;
    }
    Ok(())
}
