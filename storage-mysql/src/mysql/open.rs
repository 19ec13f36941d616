//! Opens the pool: checks the server, its prepared statements and the tables, and draws the epoch
//! of a new store.

use std::sync::Arc;

use gimlet_core::time::TimeSource;
use sqlx::{Connection as _, Executor as _, MySqlConnection, Row as _};
use tokio::time::Instant;

use super::connect::{MAX_PREPARED_STATEMENTS, MysqlConnector, opening_step};
use super::engine::MysqlEngine;
use super::history::StoreHistory;
use super::import;
use super::pool::{ConnectionPool, MIN_PREPARED_STATEMENTS};
use super::seq;
use super::session::MysqlSession;
use super::settings::{self, ConnectionPurpose};
use crate::config::MysqlConfig;
use crate::error::{EngineError, OpenError, UnfitServer};

/// One process may hold the server's limit of prepared statements divided by this number.
const STATEMENT_SHARES: u64 = 4;

/// Opens the pool, checks the server, and draws the epoch and the identity of a new store. Returns
/// the engine and the identity.
pub(crate) async fn open(
    config: &MysqlConfig,
    clock: Arc<dyn TimeSource>,
) -> Result<(MysqlEngine, u64), OpenError> {
    let connector = MysqlConnector::new(config, ConnectionPurpose::Work)?;
    let allowed = config.slow_deadline;
    let (mut conn, facts) = connector.open().await?;
    let statements = opening_step(allowed, async {
        settings::warn(&mut conn).await?;
        let statements =
            statements_per_connection(&mut conn, facts.prepared, config.connections).await?;
        conn.close().await?;
        Ok(statements)
    });
    let statements = statements.await?;
    let history = Arc::new(StoreHistory::default());
    let pool = ConnectionPool::new(
        connector,
        config.connections,
        statements,
        Arc::clone(&history),
    );
    let lease = pool.acquire(Instant::now() + allowed).await;
    let lease = lease.map_err(|fault| OpenError::of_step(fault, allowed))?;
    let mut session = MysqlSession::new(lease, Arc::default(), Arc::clone(&history));
    let settled = opening_step(allowed, async {
        seq::settle_epoch(&mut session).await?;
        // Notes the epoch in force, which for a new database was drawn just now.
        session.check_server().await?;
        let cluster = seq::settle_cluster(&mut session).await?;
        Ok((cluster, import::is_unfinished(&mut session).await?))
    });
    let (cluster, is_unfinished) = settled.await?;
    session.give_back();
    if is_unfinished {
        return Err(OpenError::UnfinishedImport);
    }
    Ok((MysqlEngine::new(pool, clock, config, history), cluster))
}

/// Returns how many prepared statements a connection may keep: its part of this process's share of the
/// server's limit `found`, or of the statements that are still free, if they are fewer.
async fn statements_per_connection(
    conn: &mut MySqlConnection,
    found: Option<u64>,
    connections: u32,
) -> Result<usize, EngineError> {
    let Some(found) = found else {
        return Ok(MAX_PREPARED_STATEMENTS);
    };
    let sql = "SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'";
    let used = match conn.fetch_optional(sqlx::raw_sql(sql)).await? {
        Some(row) => row.try_get_unchecked::<String, _>(1)?.parse().unwrap_or(0),
        None => 0,
    };
    Ok(share(found, used, connections)?)
}

fn share(found: u64, used: u64, connections: u32) -> Result<usize, UnfitServer> {
    let each =
        (found / STATEMENT_SHARES).min(found.saturating_sub(used)) / u64::from(connections.max(1));
    let each = usize::try_from(each).unwrap_or(usize::MAX);
    if each < MIN_PREPARED_STATEMENTS {
        return Err(UnfitServer::PreparedStatements {
            found,
            used,
            connections,
            needed: u64::from(connections) * MIN_PREPARED_STATEMENTS as u64 * STATEMENT_SHARES,
        });
    }
    Ok(each.min(MAX_PREPARED_STATEMENTS))
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
