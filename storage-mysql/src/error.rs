//! Errors of this crate: at opening, as texts for an operator; later, classified by what the caller
//! does about them.

use std::time::Duration;

use gimlet_core::id::UserId;
use gimlet_core::seq::Seq;
use gimlet_core::store::{StoreError, StoreErrorKind};
use sqlx::mysql::MySqlDatabaseError;

use crate::error_numbers::{ErrorScope, error_scope};
use crate::record::RecordDecodeError;

/// Error number of a table that does not exist.
const NO_TABLE: u16 = 1146;

/// Reasons why the storage could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The MySQL address cannot be parsed.
    #[error(
        "the address of MySQL is wrong: {0}; it should read mysql://user:password@host:port/database"
    )]
    MysqlAddress(#[source] sqlx::Error),
    /// The Redis address cannot be parsed.
    #[error(
        "the address of Redis is wrong: {0}; it should read redis://host:port/ or rediss://host:port/, the nodes of a Redis Cluster separated by commas, or redis+sentinel://host:port,host:port/service/0"
    )]
    RedisAddress(#[source] redis::RedisError),
    /// The file with Redis' CA cannot be read.
    #[error(
        "the CA of Redis, {file}, cannot be read: {error}; storage.redis_ca must name a PEM file"
    )]
    RedisCa {
        /// Path of the file.
        file: String,
        /// Cause.
        #[source]
        error: std::io::Error,
    },
    /// MySQL does not answer, or answers with an error.
    #[error(
        "MySQL cannot be used: {0}; check the address, the user's rights and that the server is up"
    )]
    Mysql(#[source] sqlx::Error),
    /// The schema is missing, or is older than this version's.
    #[error(
        "the database's tables are not those of this version of gimlet: {0}; run `gimlet migrate`"
    )]
    Schema(String),
    /// A newer version of gimlet has migrated the database.
    #[error(
        "the database has migration {version}, which this version of gimlet does not have: a newer version migrated it; run that version"
    )]
    Newer {
        /// Version of the migration.
        version: i64,
    },
    /// A migration was applied with another text than this version's.
    #[error(
        "migration {version} was applied with another text than this version of gimlet has: run the build that migrated this database, or name another database"
    )]
    Altered {
        /// Version of the migration.
        version: i64,
    },
    /// Another process migrates the database.
    #[error(
        "another migration of this database has been running for a minute: wait until it has ended, and try again"
    )]
    Migrating,
    /// The stored identity or epoch cannot be read.
    #[error("the database is damaged ({0}): restore it from a backup")]
    Damaged(String),
    /// A migration failed.
    #[error(
        "migration {version} failed at {statement:?}: {source}; correct the cause and run `gimlet migrate` \
         again; it repeats this migration from its beginning"
    )]
    Migrate {
        /// Version of the migration.
        version: i64,
        /// First line of the statement.
        statement: String,
        /// Error from the server.
        source: sqlx::Error,
    },
    /// The database has tables with gimlet's names that gimlet did not create.
    #[error(
        "the database has tables with gimlet's names that gimlet did not create: {}; give gimlet a database of its own",
        .tables.join(", ")
    )]
    Foreign {
        /// Names of the tables.
        tables: Vec<String>,
    },
    /// An import into the database was interrupted, or runs.
    #[error(
        "the database holds an unfinished import: wait until `gimlet import` has ended; if it was interrupted, drop the database, create it again, and import again"
    )]
    UnfinishedImport,
    /// The server or its settings are unsuitable.
    #[error(transparent)]
    Unfit(#[from] UnfitServer),
    /// Redis holds another cluster's keys under this prefix.
    #[error("Redis cannot be used: {0}")]
    OtherCluster(String),
}

impl OpenError {
    /// Converts the reason why a step of the opening failed, for which this time was allowed.
    pub(crate) fn of_step(fault: EngineError, allowed: Duration) -> Self {
        match fault {
            EngineError::Unfit(unfit) => Self::Unfit(unfit),
            EngineError::Mysql(error) if number(&error) == Some(NO_TABLE) => {
                Self::Schema(error.to_string())
            }
            EngineError::Mysql(error) => Self::Mysql(error),
            EngineError::Corrupt(what) => Self::Damaged(what.into()),
            EngineError::Deadline => {
                let text = format!("no answer within {allowed:?}");
                let error = std::io::Error::new(std::io::ErrorKind::TimedOut, text);
                Self::Mysql(sqlx::Error::Io(error))
            }
            other => Self::Mysql(sqlx::Error::Io(std::io::Error::other(other))),
        }
    }
}

/// Reasons why a server is not used. Each text says what to change.
#[derive(Debug, thiserror::Error)]
pub enum UnfitServer {
    /// The server acknowledges commits that are not on disk.
    #[error(
        "{variable} is {found} on this MySQL server, and answered messages could be lost with the machine: set {variable} = 1, or accept the loss by relaxed_durability"
    )]
    Durability {
        /// Server variable.
        variable: &'static str,
        /// Its value.
        found: String,
    },
    /// The server accepts only small statements.
    #[error(
        "max_allowed_packet is {found} bytes on this MySQL server, and at least {least} are needed: raise it"
    )]
    Packet {
        /// Its value.
        found: u64,
        /// Required minimum.
        least: u64,
    },
    /// The server accepts no changes.
    #[error(
        "{variable} is on at this MySQL server, so it is a replica or was replaced: storage.mysql_url must lead to the primary"
    )]
    ReadOnly {
        /// Server variable.
        variable: &'static str,
    },
    /// The binary log cannot record changes made under READ COMMITTED.
    #[error(
        "binlog_format is STATEMENT on this MySQL server, which refuses changes under READ COMMITTED: set binlog_format = ROW"
    )]
    BinlogFormat,
    /// A session did not keep a setting.
    #[error(
        "{variable} is {found:?} after it was set to {needed:?} for this session: connect to MySQL directly, or by a proxy that gives each client a session of its own"
    )]
    Session {
        /// Session variable.
        variable: &'static str,
        /// Its value.
        found: String,
        /// Value that it was set to.
        needed: &'static str,
    },
    /// The server has too few prepared statements for the connections.
    #[error(
        "max_prepared_stmt_count is {found} on this MySQL server, of which {used} are in use, and {connections} connections need at least {needed}: raise it, or lower storage.mysql_connections"
    )]
    PreparedStatements {
        /// Its value.
        found: u64,
        /// Statements in use.
        used: u64,
        /// Connections of this process.
        connections: u32,
        /// Required minimum.
        needed: u64,
    },
}

/// Reasons why a call failed, before the call's name is attached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// MySQL, or the connection to it, failed.
    #[error("mysql")]
    Mysql(#[from] sqlx::Error),
    /// MySQL answers, but its settings are unsuitable.
    #[error(transparent)]
    Unfit(#[from] UnfitServer),
    /// The storage was closed.
    #[error("the storage is closed")]
    Closed,
    /// Redis, or the connection to it, failed.
    #[error("redis")]
    Redis(#[from] redis::RedisError),
    /// The deadline passed, and nothing was committed.
    #[error("no answer in time; nothing was committed")]
    Deadline,
    /// Redis failed a moment ago, and calls fail at once until it is tried again.
    #[error("redis does not answer; retried shortly")]
    Down,
    /// The keys under this prefix belong to another cluster.
    #[error("{0}")]
    OtherCluster(String),
    /// The answer to a COMMIT, or to a change outside a transaction, was lost.
    #[error("the answer to a change was lost: {0}")]
    Unknown(String),
    /// An inbox is shorter than this process has seen it: the store lost commits.
    #[error("the inbox of {user} ends at {found}, but entry {known} was seen before")]
    WentBack {
        /// Owner of the inbox.
        user: UserId,
        /// Its last known entry.
        known: Seq,
        /// Its last entry now.
        found: Seq,
    },
    /// A row holds a value that was never written.
    #[error("{0}")]
    Corrupt(&'static str),
    /// A stored message cannot be decoded.
    #[error(transparent)]
    Unreadable(#[from] RecordDecodeError),
    /// The caller made a mistake.
    #[error("{0}")]
    Misuse(&'static str),
}

impl EngineError {
    /// Converts the fault into the error of this operation, as the caller sees it.
    pub(crate) fn of(self, op: &'static str) -> StoreError {
        let kind = match &self {
            Self::Mysql(error) => mysql_kind(error),
            Self::Redis(error) => redis_kind(error),
            Self::Deadline
            | Self::Down
            | Self::Closed
            | Self::Unfit(_)
            | Self::WentBack { .. }
            | Self::OtherCluster(_) => StoreErrorKind::Unavailable,
            Self::Unknown(_) => StoreErrorKind::Unknown,
            Self::Corrupt(_) | Self::Unreadable(_) => StoreErrorKind::Corrupt,
            Self::Misuse(_) => StoreErrorKind::Misuse,
        };
        StoreError::with(op, kind, self)
    }

    /// Returns whether the server is unusable, as opposed to a fault of the request.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Mysql(error) => matches!(
                mysql_kind(error),
                StoreErrorKind::Unavailable | StoreErrorKind::Full
            ),
            Self::Redis(_)
            | Self::Deadline
            | Self::Down
            | Self::Unfit(_)
            | Self::WentBack { .. }
            | Self::OtherCluster(_)
            | Self::Unknown(_) => true,
            Self::Closed | Self::Corrupt(_) | Self::Unreadable(_) | Self::Misuse(_) => false,
        }
    }

    /// Returns the server's error number, if the server answered with one.
    pub(crate) fn number(&self) -> Option<u16> {
        match self {
            Self::Mysql(error) => number(error),
            _ => None,
        }
    }

    /// Returns whether a row with this unique key exists already.
    pub(crate) fn is_duplicate(&self) -> bool {
        self.scope() == ErrorScope::Duplicate
    }

    /// Returns whether another session holds a lock: beyond the lock wait timeout, or at all for a
    /// statement with `NOWAIT`.
    pub(crate) fn is_lock(&self) -> bool {
        self.scope() == ErrorScope::Locked
    }

    /// Returns what the fault is about, which decides what is done next.
    pub(crate) fn scope(&self) -> ErrorScope {
        match self {
            Self::Mysql(sqlx::Error::Database(_)) => {
                self.number().map_or(ErrorScope::Statement, error_scope)
            }
            Self::Mysql(_) if self.is_broken_link() => ErrorScope::Connection,
            Self::Deadline => ErrorScope::Connection,
            Self::Unfit(_) => ErrorScope::Server,
            _ => ErrorScope::Statement,
        }
    }

    /// Returns whether the connection to the server broke, as opposed to an error answer.
    pub(crate) fn is_broken_link(&self) -> bool {
        matches!(
            self,
            Self::Mysql(
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::Protocol(_)
                    | sqlx::Error::WorkerCrashed
            )
        )
    }

    /// Returns whether the connection must not be used again.
    pub(crate) fn ends_connection(&self) -> bool {
        use ErrorScope::{Connection, Crowded, Server, Statements};
        matches!(self.scope(), Connection | Crowded | Server | Statements)
    }

    /// Returns whether a COMMIT that failed with this fault has certainly changed nothing.
    pub(crate) fn refuses_commit(&self) -> bool {
        let number = self.number();
        number.is_some_and(|number| error_scope(number).refuses_commit(number))
    }
}

fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    Some(error.try_downcast_ref::<MySqlDatabaseError>()?.number())
}

fn mysql_kind(error: &sqlx::Error) -> StoreErrorKind {
    match error {
        sqlx::Error::Database(_) => match number(error).map(error_scope) {
            Some(ErrorScope::Full) => StoreErrorKind::Full,
            Some(ErrorScope::Value) => StoreErrorKind::Misuse,
            Some(ErrorScope::Damaged) => StoreErrorKind::Corrupt,
            // Locked by another session, or a deadlock that the retries did not resolve.
            Some(ErrorScope::Locked | ErrorScope::Conflict) => StoreErrorKind::Contended,
            // Every other error ends the transaction without storing anything.
            _ => StoreErrorKind::Unavailable,
        },
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. } => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Unavailable,
    }
}

fn redis_kind(error: &redis::RedisError) -> StoreErrorKind {
    if error.code() == Some("OOM") {
        StoreErrorKind::Full
    } else {
        StoreErrorKind::Unavailable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression: every error about the tables ended with the advice to run `gimlet migrate`, also
    /// those that `gimlet migrate` itself returns.
    #[test]
    fn only_missing_migrations_lead_to_gimlet_migrate() {
        let advice = "run `gimlet migrate`";
        let missing = OpenError::Schema("1 migrations are missing".into());
        assert!(missing.to_string().contains(advice), "{missing}");
        for (error, remedy) in [
            (OpenError::Newer { version: 9 }, "run that version"),
            (OpenError::Altered { version: 9 }, "run the build"),
            (OpenError::Migrating, "wait until it has ended"),
            (
                OpenError::Damaged("it has no identity".into()),
                "from a backup",
            ),
        ] {
            let text = error.to_string();
            assert!(text.contains(remedy), "{text}");
            assert!(!text.contains(advice), "{text}");
        }
    }
}
