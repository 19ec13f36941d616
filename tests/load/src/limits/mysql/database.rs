//! The database of the probes: its connections and tables, and the repetition of work until a pass ends.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlPool, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, Executor as _};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{ProbeOutcome, ProbePass};

/// Users that the sends go to.
const USERS: u64 = 10_000;

/// Bytes of a message.
pub(super) const BODY: usize = 100;

/// Members of the group.
pub(super) const MEMBERS: u64 = 500;

/// Rows of a message to the group: the message, and a head and an entry for each member.
pub(super) const GROUP_ROWS: u64 = 1 + 2 * MEMBERS;

const TABLES: [&str; 3] = [
    "CREATE TABLE limit_message (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, body BLOB NOT NULL, \
     PRIMARY KEY (id)) ENGINE = InnoDB",
    "CREATE TABLE limit_head (user_id BIGINT UNSIGNED NOT NULL, seq BIGINT UNSIGNED NOT NULL, \
     PRIMARY KEY (user_id)) ENGINE = InnoDB",
    "CREATE TABLE limit_entry (user_id BIGINT UNSIGNED NOT NULL, seq BIGINT UNSIGNED NOT NULL, \
     message BIGINT UNSIGNED NOT NULL, PRIMARY KEY (user_id, seq)) ENGINE = InnoDB",
];

const DROP: &str = "DROP TABLE IF EXISTS limit_message, limit_head, limit_entry";

/// Runs `run` with connections to the database at this address, and then drops the tables.
pub(in crate::limits) fn with<T>(
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

/// Creates new, empty tables.
pub(in crate::limits) async fn recreate_tables(pool: &MySqlPool) -> ProbeOutcome<()> {
    pool.execute(DROP).await?;
    for table in TABLES {
        pool.execute(table).await?;
    }
    Ok(())
}

/// Runs `lanes` workers in parallel; returns the sum of their counts.
pub(super) async fn together<F>(lanes: u64, lane: impl Fn(u64) -> F) -> ProbeOutcome<ProbePass>
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
pub(super) async fn until<F>(end: Instant, step: impl Fn(u64) -> F + Send) -> ProbeOutcome<u64>
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
pub(super) fn pair(lane: u64, n: u64) -> [u64; 2] {
    let n = lane * 1_000_003 + n;
    let (a, b) = (n * 31 % USERS, n.wrapping_mul(7_919) % USERS);
    [a.min(b), a.max(b)]
}

/// Builds a statement with `count` rows.
pub(super) fn rows(head: &str, row: &str, count: usize, tail: &str) -> AssertSqlSafe<String> {
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
