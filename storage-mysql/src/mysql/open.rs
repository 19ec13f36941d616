//! Connects, checks that the server keeps its word about commits, and that the tables are there.

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
    let packet = check(&pool, config).await?;
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

/// Refuses a server that would break law 1, and returns how many bytes of bodies a statement takes.
async fn check(pool: &MySqlPool, config: &MysqlConfig) -> Result<usize, OpenError> {
    let variable = async |name: &'static str| -> Result<Option<String>, OpenError> {
        let row = sqlx::query("SHOW GLOBAL VARIABLES WHERE Variable_name = ?")
            .bind(name)
            .fetch_optional(pool)
            .await
            .map_err(OpenError::Mysql)?;
        let value = row.map(|it| it.try_get_unchecked::<String, _>(1));
        value.transpose().map_err(OpenError::Mysql)
    };
    let on = |value: &Option<String>| {
        let value = value.as_deref().unwrap_or_default();
        value == "1" || value.eq_ignore_ascii_case("on")
    };
    let binlog = on(&variable("log_bin").await?);
    let mut durable = vec!["innodb_flush_log_at_trx_commit"];
    if binlog {
        durable.push("sync_binlog");
    }
    for name in durable {
        // A server without the variable (TiDB) is durable in a way of its own.
        let Some(found) = variable(name).await? else {
            continue;
        };
        if found != "1" && config.relaxed_durability {
            tracing::warn!(
                variable = name,
                found,
                "answered messages may be lost with the machine"
            );
        } else if found != "1" {
            return Err(OpenError::Durability {
                variable: name,
                found,
            });
        }
    }
    if on(&variable("wsrep_on").await?) {
        tracing::warn!(
            "this server is a Galera node: send all of gimlet's connections to one node at a time, \
             because a commit is certified by the others only after its answer was planned"
        );
    }
    let packet = variable("max_allowed_packet").await?;
    let packet = packet.and_then(|it| it.parse().ok()).unwrap_or(PACKET * 2);
    if packet < LEAST_PACKET {
        return Err(OpenError::Packet {
            found: packet,
            least: LEAST_PACKET,
        });
    }
    Ok(usize::try_from(PACKET.min(packet / 2)).unwrap_or(usize::MAX))
}
