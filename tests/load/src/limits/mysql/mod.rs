//! Database probes without gimlet: sends in one batched transaction and as gim makes them, and a
//! message to a group of 500 as many rows and as many commits.
//!
//! The tables are created for the run and dropped after it. The SQL is limited to what gimlet would
//! use: no `RETURNING`; heads are raised by one upsert and read back under their locks.

mod batch;
mod page;
mod single;

pub use page::pages;

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlPool, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, Executor as _};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{MeasuredLimit, ProbePass};
use super::{ProbeOutcome, ProbeShape};

/// Users that the sends go to.
const USERS: u64 = 10_000;

/// Bytes of a message.
const BODY: usize = 100;

/// Members of the group.
const MEMBERS: u64 = 500;

/// Rows of a message to the group: the message, and a head and an entry for each member.
const GROUP_ROWS: u64 = 1 + 2 * MEMBERS;

const TABLES: [&str; 3] = [
    "CREATE TABLE limit_message (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, body BLOB NOT NULL, \
     PRIMARY KEY (id)) ENGINE = InnoDB",
    "CREATE TABLE limit_head (user_id BIGINT UNSIGNED NOT NULL, seq BIGINT UNSIGNED NOT NULL, \
     PRIMARY KEY (user_id)) ENGINE = InnoDB",
    "CREATE TABLE limit_entry (user_id BIGINT UNSIGNED NOT NULL, seq BIGINT UNSIGNED NOT NULL, \
     message BIGINT UNSIGNED NOT NULL, PRIMARY KEY (user_id, seq)) ENGINE = InnoDB",
];

const DROP: &str = "DROP TABLE IF EXISTS limit_message, limit_head, limit_entry";

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

/// Runs `run` with connections to the database at this address, and then drops the tables.
pub(super) fn with<T>(
    url: &str,
    connections: u64,
    run: impl AsyncFnOnce(MySqlPool) -> ProbeOutcome<T>,
) -> ProbeOutcome<T> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let options: MySqlConnectOptions = url.parse()?;
        let pool = MySqlPoolOptions::new()
            .max_connections(u32::try_from(connections)?)
            .acquire_timeout(Duration::from_secs(30))
            .after_connect(|connection, _| {
                let level = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
                Box::pin(async move { connection.execute(level).await.map(drop) })
            })
            .connect_with(options)
            .await?;
        let done = run(pool.clone()).await;
        pool.execute(DROP).await?;
        pool.close().await;
        done
    })
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

/// Creates new, empty tables.
pub(super) async fn recreate_tables(pool: &MySqlPool) -> ProbeOutcome<()> {
    pool.execute(DROP).await?;
    for table in TABLES {
        pool.execute(table).await?;
    }
    Ok(())
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

/// Runs `lanes` workers in parallel; returns the sum of their counts.
async fn together<F>(lanes: u64, lane: impl Fn(u64) -> F) -> ProbeOutcome<ProbePass>
where
    F: Future<Output = ProbeOutcome<u64>> + Send + 'static,
{
    let start = Instant::now();
    let mut all = JoinSet::new();
    for number in 0..lanes {
        all.spawn(lane(number));
    }
    let mut count = 0;
    while let Some(lane) = all.join_next().await {
        count += lane??;
    }
    Ok(ProbePass {
        count,
        span: start.elapsed(),
        cpu: None,
    })
}

/// Repeats a step until the end; returns the sum of the counts.
async fn until<F>(end: Instant, step: impl Fn(u64) -> F + Send) -> ProbeOutcome<u64>
where
    F: Future<Output = ProbeOutcome<u64>> + Send,
{
    let (mut count, mut n) = (0, 0);
    while Instant::now() < end {
        match step(n).await {
            Ok(done) => count += done,
            // The database undid this one in favour of another. gimlet retries its own batches as
            // well.
            Err(error) if is_deadlock(&*error) => {}
            Err(error) => return Err(error),
        }
        n += 1;
    }
    Ok(count)
}

/// Returns true if the database gave up this transaction for a deadlock (1213) or a lock wait
/// (1205).
fn is_deadlock(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let database = error.downcast_ref::<sqlx::Error>();
    let database = database.and_then(sqlx::Error::as_database_error);
    let database = database.and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    database.is_some_and(|error| matches!(error.number(), 1205 | 1213))
}

/// Returns the two users of a send, the lower first: all transactions lock in that order.
fn pair(lane: u64, n: u64) -> [u64; 2] {
    let n = lane * 1_000_003 + n;
    let (a, b) = (n * 31 % USERS, n.wrapping_mul(7_919) % USERS);
    [a.min(b), a.max(b)]
}

/// Builds a statement with `count` rows.
fn rows(head: &str, row: &str, count: usize, tail: &str) -> AssertSqlSafe<String> {
    let mut sql = String::with_capacity(head.len() + (row.len() + 1) * count + tail.len());
    sql.push_str(head);
    for n in 0..count {
        if n > 0 {
            sql.push(',');
        }
        sql.push_str(row);
    }
    sql.push_str(tail);
    AssertSqlSafe(sql)
}
