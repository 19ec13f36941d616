//! Connects, checks that the server keeps its word about commits, and that the tables are there.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use gimlet_core::time::Clock;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{ConnectOptions as _, Executor as _, MySqlPool, Row as _};

use super::db::Db;
use super::seq;
use super::session::Session;
use crate::config::MysqlConfig;
use crate::error::{Fault, OpenError};

/// Bodies in one statement, at most.
const PACKET: u64 = 2 << 20;
/// A statement of this many bytes must be possible: two entries of the largest message.
const LEAST_PACKET: u64 = 1 << 20;

/// What every connection is set to. `READ COMMITTED` takes no gap locks, and every statement reads
/// the newest commits. A lock is waited for at most 1 s, so that the server ends a transaction
/// before its caller gives up on it; a session that was cut off without a goodbye ends after a
/// minute at most, with its locks. `/*M! … */` is read by MariaDB alone: long `IN` lists stay
/// ranges of the key, and an open transaction that falls silent ends within 5 s.
const SESSION: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
     innodb_lock_wait_timeout = 1, wait_timeout = 60, net_write_timeout = 10 \
     /*M!100500 , in_predicate_conversion_threshold = 0, idle_transaction_timeout = 5 */";
const ISOLATION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// The options of a connection to this address.
pub(crate) fn options(url: &str) -> Result<MySqlConnectOptions, OpenError> {
    let options = MySqlConnectOptions::from_str(url).map_err(OpenError::MysqlAddress)?;
    Ok(options
        .charset("utf8mb4")
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .statement_cache_capacity(250)
        .disable_statement_logging())
}

/// Opens the pool, checks the server, and draws the epoch of a new store.
pub(crate) async fn open(config: &MysqlConfig, clock: Arc<dyn Clock>) -> Result<Db, OpenError> {
    let pool = MySqlPoolOptions::new()
        .max_connections(config.connections.max(1))
        .acquire_timeout(config.deadline)
        // Below `wait_timeout`: the server never closes a connection that is to be used.
        .idle_timeout(Duration::from_secs(40))
        .max_lifetime(Duration::from_mins(30))
        // A broken connection shows at its first use, and the work is done again on another one.
        .test_before_acquire(false)
        .after_connect(|conn, _| {
            Box::pin(async move {
                conn.execute(sqlx::raw_sql(SESSION)).await?;
                conn.execute(sqlx::raw_sql(ISOLATION)).await?;
                Ok(())
            })
        })
        .connect_with(options(&config.url)?)
        .await
        .map_err(OpenError::Mysql)?;
    let packet = judge(&variables(&pool).await?, config.relaxed_durability)?;
    let db = Db::new(pool.clone(), clock, config, packet);
    let conn = pool.acquire().await.map_err(OpenError::Mysql)?;
    let mut session = Session::new(conn, Arc::default(), packet);
    seq::settle_epoch(&mut session)
        .await
        .map_err(|fault| match fault {
            fault if fault.number() == Some(1146) => OpenError::Schema(fault_text(&fault)),
            Fault::Mysql(error) => OpenError::Mysql(error),
            other => OpenError::Schema(fault_text(&other)),
        })?;
    Ok(db)
}

fn fault_text(fault: &Fault) -> String {
    match fault {
        Fault::Mysql(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// Reads what the server is set to.
async fn variables(pool: &MySqlPool) -> Result<HashMap<String, String>, OpenError> {
    let sql = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('innodb_flush_log_at_trx_commit', \
               'log_bin', 'sync_binlog', 'wsrep_on', 'max_allowed_packet')";
    let read = sqlx::query(sql).fetch_all(pool).await;
    let rows = read.map_err(OpenError::Mysql)?;
    let pairs = rows.iter().map(|row| {
        let (name, value) = (row.try_get_unchecked(0)?, row.try_get_unchecked(1)?);
        Ok((name, value))
    });
    pairs.collect::<Result<_, _>>().map_err(OpenError::Mysql)
}

/// Refuses a server that would break law 1, and returns how many bytes of bodies a statement takes.
fn judge(variables: &HashMap<String, String>, relaxed: bool) -> Result<usize, OpenError> {
    let on = |name: &str| {
        let value = variables.get(name).map(String::as_str).unwrap_or_default();
        value == "1" || value.eq_ignore_ascii_case("on")
    };
    let mut durable = vec!["innodb_flush_log_at_trx_commit"];
    if on("log_bin") {
        durable.push("sync_binlog");
    }
    for variable in durable {
        // A server without the variable (TiDB) is durable in a way of its own.
        let Some(found) = variables.get(variable).filter(|it| *it != "1") else {
            continue;
        };
        if !relaxed {
            let found = found.clone();
            return Err(OpenError::Durability { variable, found });
        }
        tracing::warn!(
            variable,
            found,
            "answered messages may be lost with the machine"
        );
    }
    if on("wsrep_on") {
        tracing::warn!(
            "this server is a Galera node: send all of gimlet's connections to one node at a time, \
             because rows are locked on that node only"
        );
    }
    let packet = variables
        .get("max_allowed_packet")
        .and_then(|it| it.parse().ok());
    let packet = packet.unwrap_or(PACKET * 2);
    if packet < LEAST_PACKET {
        return Err(OpenError::Packet {
            found: packet,
            least: LEAST_PACKET,
        });
    }
    Ok(usize::try_from(PACKET.min(packet / 2)).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        let pairs = pairs.iter();
        pairs.map(|(k, v)| ((*k).into(), (*v).into())).collect()
    }

    #[test]
    fn a_server_that_may_lose_commits_is_refused() {
        let flush = "innodb_flush_log_at_trx_commit";
        let durable = with(&[(flush, "1"), ("log_bin", "ON"), ("sync_binlog", "1")]);
        assert_eq!(judge(&durable, false).unwrap(), 2 << 20);
        // Without a binary log nobody asks how it is synced.
        let off = with(&[(flush, "1"), ("log_bin", "OFF"), ("sync_binlog", "0")]);
        assert!(judge(&off, false).is_ok());
        let lazy = with(&[(flush, "2")]);
        let text = judge(&lazy, false).unwrap_err().to_string();
        assert!(
            text.contains("set innodb_flush_log_at_trx_commit = 1"),
            "{text}"
        );
        assert!(judge(&lazy, true).is_ok());
        let binlog = with(&[(flush, "1"), ("log_bin", "ON"), ("sync_binlog", "0")]);
        assert!(matches!(
            judge(&binlog, false),
            Err(OpenError::Durability {
                variable: "sync_binlog",
                ..
            })
        ));
        let small = with(&[("max_allowed_packet", "65536")]);
        assert!(matches!(judge(&small, true), Err(OpenError::Packet { .. })));
    }
}
