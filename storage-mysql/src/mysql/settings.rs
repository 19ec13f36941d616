//! Settings of every session, and required settings of a server: one list of each.
//!
//! A server's defaults may have any value; nothing here relies on them. Variables that a session
//! can set are set and then read back, because a proxy in front of the server may drop the
//! statement. Variables that only the server can set are checked on each connection, because after
//! a failover the address leads to another server.

use std::collections::HashMap;

use sqlx::{Executor as _, MySqlConnection, Row as _};

use crate::error::UnfitServer;

/// Smallest acceptable `max_allowed_packet`, in bytes: two entries of the largest message.
const MIN_PACKET_BYTES: u64 = 1 << 20;

/// Purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionPurpose {
    /// Calls with a waiting caller: lock waits end after a second.
    Work,
    /// Schema changes, which may take long and wait for readers.
    Migration,
}

/// A session variable that gimlet relies on.
#[derive(Clone, Copy, Debug)]
pub struct SessionSetting {
    /// Name of the variable.
    pub name: &'static str,
    /// Value that it is set to.
    pub value: &'static str,
    /// Value during a migration.
    pub migration: &'static str,
    /// Servers that have the variable.
    pub servers: ServerKinds,
}

/// Servers that have a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKinds {
    /// MySQL, MariaDB and TiDB.
    All,
    /// MariaDB.
    MariaDb,
    /// MySQL and TiDB.
    Mysql,
}

const fn all(name: &'static str, value: &'static str) -> SessionSetting {
    SessionSetting {
        name,
        value,
        migration: value,
        servers: ServerKinds::All,
    }
}

impl SessionSetting {
    const fn migration(mut self, value: &'static str) -> Self {
        self.migration = value;
        self
    }

    const fn on(mut self, servers: ServerKinds) -> Self {
        self.servers = servers;
        self
    }

    fn value(&self, purpose: ConnectionPurpose) -> &'static str {
        match purpose {
            ConnectionPurpose::Work => self.value,
            ConnectionPurpose::Migration => self.migration,
        }
    }
}

/// Every session variable that gimlet relies on. Separate statements set the character set, the
/// isolation level and the access mode of transactions; these are read back too.
pub const SESSION_SETTINGS: &[SessionSetting] = &[
    // A statement outside a transaction commits by itself; a COMMIT starts no other transaction and
    // does not end the connection.
    all("autocommit", "1"),
    all("completion_type", "NO_CHAIN"),
    all("sql_mode", "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"),
    all("time_zone", "+00:00"),
    all("foreign_key_checks", "1"),
    all("unique_checks", "1"),
    // A result is never cut off, and no statement is refused because of its plan.
    all("sql_select_limit", "18446744073709551615"),
    all("sql_safe_updates", "0"),
    all("sql_big_selects", "1"),
    all("sql_auto_is_null", "0"),
    // Lock waits end after 1 s, so that the server ends a transaction before its caller gives up.
    all("innodb_lock_wait_timeout", "1").migration("50"),
    all("lock_wait_timeout", "1").migration("50"),
    // A session whose connection was cut silently ends after a minute, and its locks with it.
    all("wait_timeout", "60").migration("28800"),
    all("net_read_timeout", "30"),
    all("net_write_timeout", "10").migration("60"),
    all("default_storage_engine", "InnoDB"),
    // Longer than any caller waits: a statement without a waiting caller ends.
    all("max_statement_time", "11")
        .migration("0")
        .on(ServerKinds::MariaDb),
    all("max_execution_time", "11000")
        .migration("0")
        .on(ServerKinds::Mysql),
    // An idle open transaction ends, and its locks with it.
    all("idle_transaction_timeout", "5").on(ServerKinds::MariaDb),
    // Long IN lists stay range scans of the key.
    all("in_predicate_conversion_threshold", "0").on(ServerKinds::MariaDb),
];

/// Returns the statements that set a session. `READ COMMITTED` takes no gap locks, and every
/// statement reads the newest commits.
fn statements(purpose: ConnectionPurpose) -> [String; 3] {
    let mut set = String::from("SET ");
    for servers in [ServerKinds::All, ServerKinds::MariaDb, ServerKinds::Mysql] {
        // Executable comments: only MariaDB reads /*M!, and MariaDB skips /*!80000.
        let (before, after) = match servers {
            ServerKinds::All => ("", ""),
            ServerKinds::MariaDb => (" /*M!100500 , ", " */"),
            ServerKinds::Mysql => (" /*!80000 , ", " */"),
        };
        let those = SESSION_SETTINGS.iter().filter(|it| it.servers == servers);
        let assigned = those.map(|it| {
            let value = it.value(purpose);
            let quote = if value.bytes().all(|it| it.is_ascii_digit()) {
                ""
            } else {
                "'"
            };
            format!("SESSION {} = {quote}{value}{quote}", it.name)
        });
        let assigned: Vec<_> = assigned.collect();
        set.push_str(before);
        set.push_str(&assigned.join(", "));
        set.push_str(after);
    }
    [
        set,
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE".into(),
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin".into(),
    ]
}

/// Properties of a server, read when a connection was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerProperties {
    /// Largest size of a statement, in bytes.
    pub(super) packet: u64,
    /// Largest number of prepared statements of all its clients; `None` if the server sets no
    /// limit.
    pub(super) prepared: Option<u64>,
    /// Identity of the server; `None` if one address leads to several equal servers.
    pub(super) identity: Option<String>,
}

/// Sets this session, then checks it and its server.
pub(super) async fn settle(
    conn: &mut MySqlConnection,
    purpose: ConnectionPurpose,
    relaxed: bool,
) -> Result<ServerProperties, SessionSetupError> {
    for sql in statements(purpose) {
        conn.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql)))
            .await?;
    }
    let found = variables(conn).await?;
    Ok(judge(&found, purpose, relaxed)?)
}

/// Reasons why a connection is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionSetupError {
    #[error(transparent)]
    Mysql(#[from] sqlx::Error),
    #[error(transparent)]
    Unfit(#[from] UnfitServer),
}

/// Server variables that are checked, in addition to the session variables.
const SERVER_VARIABLES: &[&str] = &[
    "tx_isolation",
    "transaction_isolation",
    "tx_read_only",
    "transaction_read_only",
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "collation_connection",
    "innodb_flush_log_at_trx_commit",
    "log_bin",
    "sync_binlog",
    "binlog_format",
    "wsrep_on",
    "group_replication_single_primary_mode",
    "max_allowed_packet",
    "max_prepared_stmt_count",
    "read_only",
    "super_read_only",
    "innodb_read_only",
    "offline_mode",
    "server_uuid",
    "server_uid",
    "server_id",
    "hostname",
    "port",
    "version",
];

async fn variables(conn: &mut MySqlConnection) -> Result<HashMap<String, String>, sqlx::Error> {
    let names = SESSION_SETTINGS.iter().map(|it| it.name);
    let names: Vec<_> = names.chain(SERVER_VARIABLES.iter().copied()).collect();
    let sql = format!(
        "SHOW SESSION VARIABLES WHERE Variable_name IN ('{}')",
        names.join("','")
    );
    // By the text protocol: this runs once per connection and leaves no prepared statement behind.
    let rows = conn.fetch_all(sqlx::raw_sql(sqlx::AssertSqlSafe(sql)));
    let mut found = HashMap::new();
    for row in rows.await? {
        let name: String = row.try_get_unchecked(0)?;
        found.insert(name.to_ascii_lowercase(), row.try_get_unchecked(1)?);
    }
    Ok(found)
}

/// Returns whether two spellings mean the same value: ON is 1, and modes come in any order.
pub(super) fn same(wanted: &str, found: &str) -> bool {
    let plain = |text: &str| {
        let mut words: Vec<String> = text
            .split(',')
            .map(|word| match word.trim().to_ascii_uppercase().as_str() {
                "ON" => "1".into(),
                "OFF" => "0".into(),
                other => other.to_owned(),
            })
            .collect();
        words.sort_unstable();
        words
    };
    let number = |text: &str| text.parse::<f64>().ok();
    match (number(wanted), number(found)) {
        // MariaDB shows times as 11.000000.
        (Some(a), Some(b)) => (a - b).abs() < f64::EPSILON,
        _ => plain(wanted) == plain(found),
    }
}

fn judge(
    found: &HashMap<String, String>,
    purpose: ConnectionPurpose,
    relaxed: bool,
) -> Result<ServerProperties, UnfitServer> {
    // A proxy may drop a SET. A variable that the server does not have needs no setting.
    let session = SESSION_SETTINGS
        .iter()
        .map(|it| (it.name, it.value(purpose)));
    let by_statement = [
        ("tx_isolation", "READ-COMMITTED"),
        ("transaction_isolation", "READ-COMMITTED"),
        ("tx_read_only", "0"),
        ("transaction_read_only", "0"),
        ("character_set_client", "utf8mb4"),
        ("character_set_connection", "utf8mb4"),
        ("character_set_results", "utf8mb4"),
        ("collation_connection", "utf8mb4_bin"),
    ];
    for (variable, needed) in session.chain(by_statement) {
        if let Some(value) = found.get(variable)
            && !same(needed, value)
        {
            return Err(UnfitServer::Session {
                variable,
                found: value.clone(),
                needed,
            });
        }
    }
    writable(found)?;
    durable(found, relaxed)?;
    let text = |name: &str| found.get(name).map(String::as_str).unwrap_or_default();
    // With READ COMMITTED and a statement-based log, every change would be refused with 1665.
    if is_on(found, "log_bin") && text("binlog_format").eq_ignore_ascii_case("STATEMENT") {
        return Err(UnfitServer::BinlogFormat);
    }
    let packet = found
        .get("max_allowed_packet")
        .and_then(|it| it.parse().ok());
    let packet = packet.unwrap_or(4 << 20);
    if packet < MIN_PACKET_BYTES {
        return Err(UnfitServer::Packet {
            found: packet,
            least: MIN_PACKET_BYTES,
        });
    }
    Ok(ServerProperties {
        packet,
        prepared: found
            .get("max_prepared_stmt_count")
            .and_then(|it| it.parse().ok()),
        identity: identity(found),
    })
}

fn is_on(found: &HashMap<String, String>, name: &str) -> bool {
    found.get(name).is_some_and(|value| same("1", value))
}

/// Refuses a server that accepts no changes: a replica, or a primary that was replaced.
fn writable(found: &HashMap<String, String>) -> Result<(), UnfitServer> {
    for variable in [
        "read_only",
        "super_read_only",
        "innodb_read_only",
        "offline_mode",
    ] {
        // MariaDB 12 has several degrees of read_only; all but OFF mean a replica.
        if let Some(value) = found.get(variable)
            && !same("0", value)
        {
            return Err(UnfitServer::ReadOnly { variable });
        }
    }
    Ok(())
}

/// Refuses a server that acknowledges commits before they are on disk (law 1).
fn durable(found: &HashMap<String, String>, relaxed: bool) -> Result<(), UnfitServer> {
    let mut needed = vec!["innodb_flush_log_at_trx_commit"];
    if is_on(found, "log_bin") {
        needed.push("sync_binlog");
    }
    for variable in needed {
        // A server without the variable (TiDB) ensures durability in its own way.
        let Some(value) = found.get(variable).filter(|it| *it != "1") else {
            continue;
        };
        if !relaxed {
            return Err(UnfitServer::Durability {
                variable,
                found: value.clone(),
            });
        }
    }
    Ok(())
}

fn identity(found: &HashMap<String, String>) -> Option<String> {
    let text = |name: &str| found.get(name).map(String::as_str).unwrap_or_default();
    let several = text("version").contains("TiDB")
        || is_on(found, "wsrep_on")
        || found
            .get("group_replication_single_primary_mode")
            .is_some_and(|it| same("0", it));
    let names = ["server_uuid", "server_uid", "server_id", "hostname", "port"];
    (!several).then(|| names.map(text).join("/"))
}

/// Logs warnings about a server that is usable with care; called once, at open.
pub(super) async fn warn(conn: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    let found = variables(conn).await?;
    for variable in ["innodb_flush_log_at_trx_commit", "sync_binlog"] {
        let asked = variable != "sync_binlog" || is_on(&found, "log_bin");
        if let Some(value) = found.get(variable).filter(|it| asked && *it != "1") {
            tracing::warn!(
                variable,
                value,
                "answered messages may be lost with the machine"
            );
        }
    }
    if is_on(&found, "wsrep_on") {
        tracing::warn!(
            "this server is a Galera node: send all of gimlet's connections to one node at a time, \
             because rows are locked on that node only"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
