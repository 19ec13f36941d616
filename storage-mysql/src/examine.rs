//! Reads what an operator must know about the servers, for `gimlet doctor`. Changes nothing.

use std::time::Duration;

use sqlx::{Connection as _, Executor as _, MySqlConnection, Row as _};
use tokio::time::Instant;

use crate::config::MysqlConfig;
use crate::error::{EngineError, OpenError};
use crate::migrate;
use crate::mysql::{ConnectionPurpose, MysqlConnector, opening_step};
use crate::unix_time::now_ms;

/// Rights that gimlet needs on its database while it runs.
const RUNNING_RIGHTS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];
/// Rights that `gimlet migrate` needs besides, which a server runs at its start.
const MIGRATION_RIGHTS: [&str; 4] = ["CREATE", "ALTER", "DROP", "INDEX"];
/// Round trips that are measured; the fastest counts, because it has no queue in it.
const ROUND_TRIPS: usize = 5;

/// Facts about a MySQL server that gimlet could use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MysqlExamination {
    /// Version of the server, as it calls itself.
    pub version: String,
    /// Fastest of a few round trips.
    pub round_trip: Duration,
    /// Milliseconds by which the server's clock is ahead of this machine's; negative if behind.
    pub clock_ahead_ms: i64,
    /// Migrations that the database lacks.
    pub missing_migrations: usize,
    /// Rights on the database that the account lacks.
    pub missing_rights: Vec<&'static str>,
    /// True if the account can write to a read-only server.
    pub has_super_rights: bool,
    /// Largest number of connections of the server.
    pub max_connections: Option<u64>,
}

/// Connects as a node does, so a server with unsuitable settings is an error, and reads the facts.
///
/// # Errors
/// The server cannot be reached, or gimlet would not use it; the text says what to do.
pub async fn examine_mysql(config: &MysqlConfig) -> Result<MysqlExamination, OpenError> {
    let missing_migrations = migrate::pending(config).await?;
    let connector = MysqlConnector::new(config, ConnectionPurpose::Work)?;
    let (mut conn, _) = connector.open().await?;
    opening_step(config.slow_deadline, async {
        let mut round_trip = Duration::MAX;
        for _ in 0..ROUND_TRIPS {
            let begun = Instant::now();
            text(&mut conn, "SELECT '1'").await?;
            round_trip = round_trip.min(begun.elapsed());
        }
        let server_ms = text(
            &mut conn,
            "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS CHAR)",
        )
        .await?;
        let clock_ahead_ms = ahead_ms(server_ms.as_deref());
        let rights = rights(&mut conn).await?;
        let lacks = |right: &&'static str| !rights.iter().any(|it| it == right);
        let needed = RUNNING_RIGHTS.iter().chain(&MIGRATION_RIGHTS).copied();
        let examination = MysqlExamination {
            version: text(&mut conn, "SELECT VERSION()")
                .await?
                .unwrap_or_default(),
            round_trip,
            clock_ahead_ms,
            missing_migrations,
            missing_rights: needed.filter(lacks).collect(),
            has_super_rights: ["SUPER", "READ_ONLY ADMIN", "CONNECTION_ADMIN"]
                .iter()
                .any(|right| rights.iter().any(|it| it == right)),
            max_connections: text(&mut conn, "SELECT CAST(@@max_connections AS CHAR)")
                .await?
                .and_then(|it| it.parse().ok()),
        };
        conn.close().await?;
        Ok(examination)
    })
    .await
}

/// Returns the rights of the account on the database, those that it has everywhere included.
async fn rights(conn: &mut MySqlConnection) -> Result<Vec<String>, EngineError> {
    // A grant's database is a pattern in which `_` and `%` are wildcards, so LIKE compares it.
    let sql = "SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES \
               UNION SELECT PRIVILEGE_TYPE FROM information_schema.SCHEMA_PRIVILEGES \
               WHERE DATABASE() LIKE TABLE_SCHEMA";
    let rows = conn.fetch_all(sqlx::raw_sql(sql)).await?;
    let rights = rows.iter().map(|row| row.try_get_unchecked::<String, _>(0));
    Ok(rights.collect::<Result<_, _>>()?)
}

/// Returns the one text of an answer.
async fn text(
    conn: &mut MySqlConnection,
    sql: &'static str,
) -> Result<Option<String>, EngineError> {
    let row = conn.fetch_one(sqlx::raw_sql(sql)).await?;
    Ok(row.try_get_unchecked(0)?)
}

fn ahead_ms(server: Option<&str>) -> i64 {
    let server = server.and_then(|it| it.split('.').next()?.parse::<i64>().ok());
    server.map_or(0, |server| server.saturating_sub(now_ms()))
}
