//! Reads what an operator must know about Redis, for `gimlet doctor`. Changes nothing.

use std::sync::Arc;
use std::time::Duration;

use gimlet_core::dependency::DependencyHealth;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, cmd};
use tokio::time::Instant;

use super::connection::RedisConnection;
use super::keys::RedisKeys;
use super::owner::PrefixOwner;
use crate::config::RedisConfig;
use crate::error::OpenError;
use crate::unix_time::now_ms;

/// Round trips that are measured; the fastest counts, because it has no queue in it.
const ROUND_TRIPS: usize = 5;

/// Facts about a Redis server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisExamination {
    /// Version of the server.
    pub version: String,
    /// Fastest of a few round trips.
    pub round_trip: Duration,
    /// Milliseconds by which the server's clock is ahead of this machine's; negative if behind.
    pub clock_ahead_ms: i64,
    /// Keys that the server evicts when its memory is full, by its own name of the policy.
    pub eviction_policy: String,
    /// Memory limit in bytes; 0 if there is none.
    pub max_memory: u64,
    /// True for a replica, which accepts no writes.
    pub is_replica: bool,
}

/// Connects to each server of the configuration, or to the master of its Sentinels, and reads the
/// facts. Each result is that of one server.
///
/// # Errors
/// The address is wrong. A server that does not answer is an error inside the list.
pub async fn examine_redis(
    config: &RedisConfig,
) -> Result<Vec<Result<RedisExamination, String>>, OpenError> {
    let keys = RedisKeys::new(&config.prefix);
    let owner = Arc::new(PrefixOwner::new(config, &keys, None));
    let health = Arc::new(DependencyHealth::new("redis"));
    let connection = RedisConnection::open(config, &owner, &health)?;
    let mut servers = Vec::new();
    for opened in connection.each_server().await {
        let examined = match opened {
            Ok(conn) => examine(conn).await,
            Err(error) => Err(error),
        };
        servers.push(examined.map_err(|error| error.to_string()));
    }
    Ok(servers)
}

async fn examine(mut conn: MultiplexedConnection) -> Result<RedisExamination, RedisError> {
    let mut round_trip = Duration::MAX;
    for _ in 0..ROUND_TRIPS {
        let begun = Instant::now();
        cmd("PING").query_async::<String>(&mut conn).await?;
        round_trip = round_trip.min(begun.elapsed());
    }
    let (seconds, micros): (i64, i64) = cmd("TIME").query_async(&mut conn).await?;
    let clock_ahead_ms = (seconds * 1_000 + micros / 1_000).saturating_sub(now_ms());
    // INFO instead of CONFIG GET, which managed services forbid.
    let info: String = cmd("INFO").query_async(&mut conn).await?;
    let field = |name: &str| {
        let mut lines = info.lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        found.unwrap_or_default().to_owned()
    };
    Ok(RedisExamination {
        version: field("redis_version"),
        round_trip,
        clock_ahead_ms,
        eviction_policy: field("maxmemory_policy"),
        max_memory: field("maxmemory").parse().unwrap_or(0),
        is_replica: field("role") == "slave",
    })
}
