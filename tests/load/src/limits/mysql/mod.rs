//! Database probes without gimlet: sends in one batched transaction and as gim makes them, and a
//! message to a group of 500 as many rows and as many commits.
//!
//! The tables are created for the run and dropped after it. The SQL is limited to what gimlet would
//! use: no `RETURNING`; heads are raised by one upsert and read back under their locks.

mod batch;
mod database;
mod page;
mod single;

pub(super) use database::{recreate_tables, with};
pub use page::pages;

use std::time::Duration;

use sqlx::mysql::MySqlPool;
use tokio::time::Instant;

use self::database::{together, until};
use super::{MeasuredLimit, ProbeOutcome, ProbePass, ProbeShape};

/// Probes of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseProbe {
    /// 512 sends per transaction, two connections.
    Batched,
    /// One commit per statement, 64 connections.
    GimStyle,
    /// A message to 500 in one transaction of multi-row statements, four connections.
    Group,
    /// A message to 500, each member's rows committed alone, four connections.
    GroupAlone,
}

impl DatabaseProbe {
    /// All probes.
    pub const ALL: [Self; 4] = [Self::Batched, Self::GimStyle, Self::Group, Self::GroupAlone];

    const fn connections(self) -> u64 {
        match self {
            Self::Batched => 2,
            Self::GimStyle => 64,
            Self::Group | Self::GroupAlone => 4,
        }
    }

    const fn description(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Batched => (
                "mysql batched sends",
                "sends/s",
                "512 a transaction, 2 connections: message, 2 heads, 2 entries each",
            ),
            Self::GimStyle => (
                "mysql gim style sends",
                "sends/s",
                "5 commits a send, 64 connections",
            ),
            Self::Group => (
                "mysql group of 500",
                "rows/s",
                "1,001 rows a message, multi-row, one transaction, 4 connections",
            ),
            Self::GroupAlone => (
                "mysql group of 500, alone",
                "rows/s",
                "1,001 rows a message, each member committed alone, 4 connections",
            ),
        }
    }
}

/// Runs one probe against the database at this address.
pub fn probe(url: &str, shape: ProbeShape, which: DatabaseProbe) -> ProbeOutcome<MeasuredLimit> {
    with(url, which.connections(), async |pool| {
        let mut passes = Vec::new();
        for _ in 0..shape.passes {
            passes.push(run_pass(&pool, shape.span, which).await?);
        }
        let (name, unit, what) = which.description();
        Ok(MeasuredLimit::of(name, unit, &passes, what))
    })
}

/// Makes one send in a transaction of its own.
pub(super) async fn one(pool: &MySqlPool, n: u64) -> ProbeOutcome<()> {
    batch::some(pool, 0, n, 1).await.map(drop)
}

async fn run_pass(
    pool: &MySqlPool,
    span: Duration,
    which: DatabaseProbe,
) -> ProbeOutcome<ProbePass> {
    recreate_tables(pool).await?;
    // Fresh tables start small, so the first statements are unlike the others and do not count.
    run(pool, Duration::from_millis(200).min(span), which).await?;
    run(pool, span, which).await
}

async fn run(pool: &MySqlPool, span: Duration, which: DatabaseProbe) -> ProbeOutcome<ProbePass> {
    let end = Instant::now() + span;
    together(which.connections(), |lane| {
        let pool = pool.clone();
        async move {
            match which {
                DatabaseProbe::Batched => until(end, |n| batch::sends(&pool, lane, n)).await,
                DatabaseProbe::GimStyle => until(end, |n| single::send(&pool, lane, n)).await,
                DatabaseProbe::Group => until(end, |_| batch::group(&pool, lane)).await,
                DatabaseProbe::GroupAlone => until(end, |_| single::group(&pool, lane, end)).await,
            }
        }
    })
    .await
}
