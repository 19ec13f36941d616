//! MySQL and Redis.

use std::time::Duration;

use gimlet_storage_mysql::{MysqlExamination, RedisExamination, examine_mysql, examine_redis};

use super::{DoctorReport, clock};
use crate::config::Config;
use crate::storage::{mysql_config, redis_config};

const MYSQL: &str = "MySQL";
const REDIS: &str = "Redis";
/// Round trip above which a database is not in the same data centre: a send needs several.
const FAR_ROUND_TRIP: Duration = Duration::from_millis(5);
/// Policy of a Redis that never evicts keys by itself.
const KEEPS_KEYS: &str = "noeviction";

pub(super) async fn examine(config: &Config, report: &mut DoctorReport) {
    if config.needs_mysql() {
        match examine_mysql(&mysql_config(config)).await {
            Ok(facts) => judge_mysql(config, &facts, report),
            Err(error) => report.problem(MYSQL, error.to_string()),
        }
    }
    match examine_redis(&redis_config(config)).await {
        Ok(servers) => {
            for server in servers {
                match server {
                    Ok(facts) => judge_redis(&facts, report),
                    Err(error) => report.problem(
                        REDIS,
                        format!(
                            "Redis cannot be used: {error}; check storage.redis_url, the password and that the \
                             server is up"
                        ),
                    ),
                }
            }
        }
        Err(error) => report.problem(REDIS, error.to_string()),
    }
}

fn judge_mysql(config: &Config, facts: &MysqlExamination, report: &mut DoctorReport) {
    let migrate = config.storage.migrate;
    let version = &facts.version;
    report.fine(
        MYSQL,
        format!("version {version} has every setting that gimlet relies on"),
    );
    let needs_migration = facts.missing_migrations > 0;
    if needs_migration && !migrate {
        report.problem(
            MYSQL,
            format!(
                "{} migrations are missing, and storage.migrate is off: run `gimlet migrate`",
                facts.missing_migrations
            ),
        );
    } else if needs_migration {
        report.fine(
            MYSQL,
            format!(
                "{} migrations will run at the next start",
                facts.missing_migrations
            ),
        );
    }
    let changes_tables = ["CREATE", "ALTER", "DROP", "INDEX"];
    let lacking = facts.missing_rights.iter().copied();
    let (later, now): (Vec<_>, Vec<_>) = lacking.partition(|right| changes_tables.contains(right));
    if !now.is_empty() {
        report.problem(
            MYSQL,
            format!(
                "the account lacks rights: GRANT {} ON the database of storage.mysql_url TO it",
                now.join(", ")
            ),
        );
    }
    if !later.is_empty() && (migrate || needs_migration) {
        report.warn(
            MYSQL,
            format!(
                "the account cannot change tables: GRANT {}, or set storage.migrate = false and run `gimlet \
                 migrate` with another account",
                later.join(", ")
            ),
        );
    }
    if facts.has_super_rights {
        report.warn(
            MYSQL,
            "the account can write to a read-only server, so a replica would accept its changes: give gimlet an \
             account with rights on its own database only",
        );
    }
    if let Some(max) = facts.max_connections
        && max < u64::from(config.storage.mysql_connections)
    {
        report.warn(
            MYSQL,
            format!(
                "max_connections is {max}, and storage.mysql_connections = {}: raise the one or lower the other",
                config.storage.mysql_connections
            ),
        );
    }
    round_trip(MYSQL, facts.round_trip, report);
    clock::compare(MYSQL, facts.clock_ahead_ms, report);
}

fn judge_redis(facts: &RedisExamination, report: &mut DoctorReport) {
    if facts.is_replica {
        report.problem(
            REDIS,
            "the server is a replica and accepts no writes: storage.redis_url must lead to the master, or name the \
             Sentinels",
        );
    }
    if facts.eviction_policy == KEEPS_KEYS || facts.max_memory == 0 {
        report.fine(REDIS, format!("version {} keeps every key", facts.version));
    } else {
        report.problem(
            REDIS,
            format!(
                "maxmemory-policy is {}, so Redis may drop the lease of a node, which then loses its connections: \
                 CONFIG SET maxmemory-policy noeviction",
                facts.eviction_policy
            ),
        );
    }
    round_trip(REDIS, facts.round_trip, report);
    clock::compare(REDIS, facts.clock_ahead_ms, report);
}

fn round_trip(topic: &'static str, time: Duration, report: &mut DoctorReport) {
    if time > FAR_ROUND_TRIP {
        report.warn(
            topic,
            format!(
                "a round trip takes {time:.1?}, and a send needs several: put gimlet and the server into the same \
                 data centre"
            ),
        );
    } else {
        report.fine(topic, format!("a round trip takes {time:.1?}"));
    }
}
