//! What can go wrong: at opening, said in words for an operator, and later, as a fault sorted by
//! what the caller does about it.

use gimlet_core::store::{Kind, StoreError};
use sqlx::mysql::MySqlDatabaseError;

use crate::record::Unreadable;

/// Why the storage could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address of MySQL is not one.
    #[error(
        "the address of MySQL is wrong: {0}; it should read mysql://user:password@host:port/database"
    )]
    MysqlAddress(#[source] sqlx::Error),
    /// The address of Redis is not one.
    #[error(
        "the address of Redis is wrong: {0}; it should read redis://host:port/ or rediss://host:port/, and the nodes of a Redis Cluster separated by commas"
    )]
    RedisAddress(#[source] redis::RedisError),
    /// MySQL does not answer, or not as it should.
    #[error(
        "MySQL cannot be used: {0}; check the address, the user's rights and that the server is up"
    )]
    Mysql(#[source] sqlx::Error),
    /// The schema is not there, or not the one this version knows.
    #[error(
        "the database's tables are not those of this version of gimlet: {0}; run `gimlet migrate`"
    )]
    Schema(String),
    /// A migration failed.
    #[error(
        "the migration failed: {0}; nothing else was changed, correct the cause and run `gimlet migrate` again"
    )]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The server answers commits that are not on disk.
    #[error(
        "{variable} is {found} on this MySQL server, and answered messages could be lost with the machine: set {variable} = 1, or accept the loss by relaxed_durability"
    )]
    Durability {
        /// The server variable.
        variable: &'static str,
        /// What it is set to.
        found: String,
    },
    /// The server takes only small statements.
    #[error(
        "max_allowed_packet is {found} bytes on this MySQL server, and at least {least} are needed"
    )]
    Packet {
        /// What it is set to.
        found: u64,
        /// What is needed.
        least: u64,
    },
}

/// Why a call failed, before it is known which call it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// MySQL, or the way to it.
    #[error("mysql")]
    Mysql(#[from] sqlx::Error),
    /// Redis, or the way to it.
    #[error("redis")]
    Redis(#[from] redis::RedisError),
    /// Nothing was committed within the call's time.
    #[error("no answer in time; nothing was committed")]
    Deadline,
    /// Redis failed a moment ago and is not asked again yet.
    #[error("redis does not answer; it is asked again shortly")]
    Down,
    /// The commit, or a change without a transaction, was sent and its answer never came.
    #[error("the answer to a change was lost: {0}")]
    Unknown(String),
    /// A row that cannot be what was written.
    #[error("{0}")]
    Corrupt(&'static str),
    /// A stored message that cannot be decoded.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The caller's mistake.
    #[error("{0}")]
    Misuse(&'static str),
}

impl Fault {
    /// The fault of this operation, as the caller sees it.
    pub(crate) fn of(self, op: &'static str) -> StoreError {
        let kind = match &self {
            Self::Mysql(error) => mysql_kind(error),
            Self::Redis(error) => redis_kind(error),
            Self::Deadline | Self::Down => Kind::Unavailable,
            Self::Unknown(_) => Kind::Unknown,
            Self::Corrupt(_) | Self::Unreadable(_) => Kind::Corrupt,
            Self::Misuse(_) => Kind::Misuse,
        };
        StoreError::with(op, kind, self)
    }

    /// The number of the server's error, if the server answered one.
    pub(crate) fn number(&self) -> Option<u16> {
        match self {
            Self::Mysql(error) => number(error),
            _ => None,
        }
    }

    /// A row with this unique key is there already.
    pub(crate) fn is_duplicate(&self) -> bool {
        self.number() == Some(1062)
    }

    /// The server ended the transaction in favour of another one: the same again may succeed.
    pub(crate) fn is_conflict(&self) -> bool {
        // Lock wait, deadlock, MariaDB's snapshot conflict; TiDB's write conflicts.
        matches!(
            self.number(),
            Some(1205 | 1213 | 1020 | 8002 | 8022 | 8028 | 9007)
        )
    }

    /// The connection is of no use any more.
    pub(crate) fn is_disconnect(&self) -> bool {
        match self {
            // The server says so itself: it shuts down, or the session was killed.
            Self::Mysql(sqlx::Error::Database(_)) => {
                matches!(self.number(), Some(1053 | 1079 | 1152..=1161 | 1184 | 1927))
            }
            Self::Mysql(error) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::Protocol(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::WorkerCrashed
            ),
            Self::Deadline => true,
            _ => false,
        }
    }
}

fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    Some(error.try_downcast_ref::<MySqlDatabaseError>()?.number())
}

fn mysql_kind(error: &sqlx::Error) -> Kind {
    match error {
        sqlx::Error::Database(_) => match number(error) {
            // The disk or the table space is full.
            Some(1021 | 1114 | 3) => Kind::Full,
            // A value that does not fit its column, or no value.
            Some(1048 | 1264 | 1366 | 1406) => Kind::Misuse,
            // Everything else ends the transaction without a trace.
            _ => Kind::Unavailable,
        },
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. } => Kind::Corrupt,
        _ => Kind::Unavailable,
    }
}

fn redis_kind(error: &redis::RedisError) -> Kind {
    if error.code() == Some("OOM") {
        Kind::Full
    } else {
        Kind::Unavailable
    }
}
