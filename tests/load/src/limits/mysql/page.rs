//! Page reads: one statement each, with the bodies in the rows.

use std::time::Duration;

use sqlx::Executor as _;
use sqlx::mysql::MySqlPool;
use tokio::time::Instant;

use super::database::{BODY, rows, together, with};
use crate::limits::ProbeShape;
use crate::limits::page::{InboxSet, PAGE};
use crate::measured_limit::{MeasuredLimit, ProbeOutcome, ProbePass};

const CONNECTIONS: u64 = 8;

/// Rows of one statement that fills the inboxes.
const FILL: u64 = 1_000;

const TABLE: &str = "CREATE TABLE limit_page (user_id BIGINT UNSIGNED NOT NULL, \
                     seq BIGINT UNSIGNED NOT NULL, body BLOB NOT NULL, \
                     PRIMARY KEY (user_id, seq)) ENGINE = InnoDB";
const DROP: &str = "DROP TABLE IF EXISTS limit_page";
const PAGE_OF: &str = "SELECT seq, body FROM limit_page WHERE user_id = ? AND seq >= ? \
                       ORDER BY seq LIMIT ?";

/// Reads inboxes from their beginning to their end, fifty entries by one statement.
pub fn pages(url: &str, shape: ProbeShape, of: InboxSet) -> ProbeOutcome<MeasuredLimit> {
    with(url, CONNECTIONS, async |pool| {
        fill(&pool, of).await?;
        let mut passes = Vec::new();
        for _ in 0..shape.passes.max(1) {
            passes.push(run_pass(&pool, shape.span, of).await?);
        }
        pool.execute(DROP).await?;
        let what = "one statement for 50 entries of 100 B, 8 connections";
        Ok(MeasuredLimit::of("mysql page", "entries/s", &passes, what))
    })
}

async fn fill(pool: &MySqlPool, of: InboxSet) -> ProbeOutcome<()> {
    pool.execute(DROP).await?;
    pool.execute(TABLE).await?;
    let all = of.inboxes * of.entries;
    for from in (0..all).step_by(usize::try_from(FILL)?) {
        let numbers = from..all.min(from + FILL);
        let count = usize::try_from(numbers.end - numbers.start)?;
        let head = "INSERT INTO limit_page (user_id, seq, body) VALUES ";
        let mut insert = sqlx::query(rows(head, "(?,?,?)", count, ""));
        for number in numbers {
            insert = insert
                .bind(number / of.entries)
                .bind(number % of.entries + 1)
                .bind([7_u8; BODY].as_slice());
        }
        pool.execute(insert).await?;
    }
    Ok(())
}

async fn run_pass(pool: &MySqlPool, span: Duration, of: InboxSet) -> ProbeOutcome<ProbePass> {
    let end = Instant::now() + span;
    together(CONNECTIONS, |lane| {
        let pool = pool.clone();
        async move {
            let mut count = 0;
            for (inbox, seq) in of.pages(lane * of.inboxes / CONNECTIONS) {
                if Instant::now() >= end {
                    break;
                }
                let page = sqlx::query(PAGE_OF).bind(inbox).bind(seq).bind(PAGE);
                count += page.fetch_all(&pool).await?.len() as u64;
            }
            Ok(count)
        }
    })
    .await
}
