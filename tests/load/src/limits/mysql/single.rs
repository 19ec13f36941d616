//! Sends with one commit per statement, as gim makes them.

use sqlx::mysql::{MySqlConnection, MySqlPool};
use tokio::time::Instant;

use super::database::{BODY, MEMBERS, pair};
use crate::measured_limit::ProbeOutcome;

const MESSAGE: &str = "INSERT INTO limit_message (body) VALUES (?)";
const HEAD: &str = "INSERT INTO limit_head (user_id, seq) VALUES (?, LAST_INSERT_ID(1)) \
                    ON DUPLICATE KEY UPDATE seq = LAST_INSERT_ID(seq + 1)";
const ENTRY: &str = "INSERT INTO limit_entry (user_id, seq, message) VALUES (?, ?, ?)";

/// Makes one send to two users in five commits; returns one.
pub(super) async fn send(pool: &MySqlPool, lane: u64, n: u64) -> ProbeOutcome<u64> {
    let mut connection = pool.acquire().await?;
    let message = put_message(&mut connection).await?;
    for user in pair(lane, n) {
        put_entry(&mut connection, user, message).await?;
    }
    Ok(1)
}

/// Sends one message to the group of this worker, two commits a member; stops at the end time.
/// Returns the number of rows.
pub(super) async fn group(pool: &MySqlPool, lane: u64, end: Instant) -> ProbeOutcome<u64> {
    let mut connection = pool.acquire().await?;
    let message = put_message(&mut connection).await?;
    let mut rows = 1;
    for user in lane * MEMBERS..(lane + 1) * MEMBERS {
        if Instant::now() >= end {
            break;
        }
        put_entry(&mut connection, user, message).await?;
        rows += 2;
    }
    Ok(rows)
}

async fn put_message(connection: &mut MySqlConnection) -> ProbeOutcome<u64> {
    let insert = sqlx::query(MESSAGE).bind([7_u8; BODY].as_slice());
    Ok(insert.execute(connection).await?.last_insert_id())
}

async fn put_entry(connection: &mut MySqlConnection, user: u64, message: u64) -> ProbeOutcome<()> {
    let raised = sqlx::query(HEAD)
        .bind(user)
        .execute(&mut *connection)
        .await?;
    // A new head answers 0 or 1, depending on the server: its first entry is 1.
    let seq = raised.last_insert_id().max(1);
    sqlx::query(ENTRY)
        .bind(user)
        .bind(seq)
        .bind(message)
        .execute(&mut *connection)
        .await?;
    Ok(())
}
