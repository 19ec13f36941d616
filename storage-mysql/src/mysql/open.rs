//! Opens the pool: checks the server, its prepared statements and the tables, and draws the epoch
//! of a new store.

use std::sync::Arc;

use gimlet_core::time::Clock;
use sqlx::{Connection as _, Executor as _, MySqlConnection, Row as _};
use tokio::time::Instant;

use super::connect::{Connector, MAX_STATEMENTS};
use super::db::Db;
use super::history::History;
use super::pool::{MIN_STATEMENTS, Pool};
use super::seq;
use super::session::Session;
use super::settings::{self, Purpose};
use crate::config::MysqlConfig;
use crate::error::{Fault, OpenError, UnfitServer};

/// Divisor of a server's prepared statements: one process may hold a quarter of them.
const SHARE: u64 = 4;

/// Opens the pool, checks the server, and draws the epoch and the identity of a new store. Returns
/// the engine and the identity.
pub(crate) async fn open(
    config: &MysqlConfig,
    clock: Arc<dyn Clock>,
) -> Result<(Db, u64), OpenError> {
    let connector = Connector::new(config, Purpose::Work)?;
    let mut conn = connector.open().await?;
    settings::warn(&mut conn).await.map_err(OpenError::Mysql)?;
    let statements = statements(&mut conn, config.connections).await?;
    conn.close().await.map_err(OpenError::Mysql)?;
    let history = Arc::new(History::default());
    let pool = Pool::new(
        connector,
        config.connections,
        statements,
        Arc::clone(&history),
    );
    let lease = pool.acquire(Instant::now() + config.slow_deadline).await;
    let lease = lease.map_err(OpenError::from_connecting)?;
    let mut session = Session::new(lease, Arc::default(), Arc::clone(&history));
    let settled = async {
        seq::settle_epoch(&mut session).await?;
        // Notes the epoch in force, which for a new database was drawn just now.
        session.check_server().await?;
        seq::settle_cluster(&mut session).await
    };
    let cluster = settled.await.map_err(|fault| match fault {
        Fault::Mysql(error) if Fault::number_of(&error) == Some(1146) => {
            OpenError::Schema(error.to_string())
        }
        Fault::Mysql(error) => OpenError::Mysql(error),
        Fault::Corrupt(what) => OpenError::Damaged(what.into()),
        other => OpenError::from_connecting(other),
    })?;
    session.give_back();
    Ok((Db::new(pool, clock, config, history), cluster))
}

/// Returns how many prepared statements a connection may keep, from what the server has left.
async fn statements(conn: &mut MySqlConnection, connections: u32) -> Result<usize, OpenError> {
    let found = number(conn, "SHOW GLOBAL VARIABLES LIKE 'max_prepared_stmt_count'").await?;
    // TiDB has no limit unless one is set.
    let Some(found) = found.filter(|it| *it >= 0) else {
        return Ok(MAX_STATEMENTS);
    };
    let used = number(conn, "SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'").await?;
    let (found, used) = (
        found.unsigned_abs(),
        used.unwrap_or_default().unsigned_abs(),
    );
    share(found, used, connections).map_err(OpenError::Unfit)
}

fn share(found: u64, used: u64, connections: u32) -> Result<usize, UnfitServer> {
    let each = (found / SHARE).min(found.saturating_sub(used)) / u64::from(connections.max(1));
    let each = usize::try_from(each).unwrap_or(usize::MAX);
    if each < MIN_STATEMENTS {
        return Err(UnfitServer::PreparedStatements {
            found,
            used,
            connections,
            needed: u64::from(connections) * MIN_STATEMENTS as u64 * SHARE,
        });
    }
    Ok(each.min(MAX_STATEMENTS))
}

/// Reads a variable or a counter of the server.
async fn number(conn: &mut MySqlConnection, sql: &'static str) -> Result<Option<i64>, OpenError> {
    let row = conn.fetch_optional(sqlx::raw_sql(sql)).await;
    let Some(row) = row.map_err(OpenError::Mysql)? else {
        return Ok(None);
    };
    let value: String = row.try_get_unchecked(1).map_err(OpenError::Mysql)?;
    Ok(value.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepared_statements_are_shared_with_other_processes() {
        // The default of MySQL and MariaDB, with the default pool.
        assert_eq!(share(16_382, 0, 16).unwrap(), 250);
        assert_eq!(share(16_382, 12_000, 16).unwrap(), 250);
        assert_eq!(share(16_382, 15_000, 16).unwrap(), 86);
        assert_eq!(share(4_000, 0, 16).unwrap(), 62);
        let text = share(1_000, 10, 16).unwrap_err().to_string();
        assert!(text.contains("at least 1024"), "{text}");
        assert!(share(0, 0, 1).is_err());
    }
}
