//! What can go wrong: at opening, said in words for an operator, and later, as a fault sorted by
//! what the caller does about it.

use gimlet_core::id::UserId;
use gimlet_core::seq::Seq;
use gimlet_core::store::{Kind, StoreError};
use sqlx::mysql::MySqlDatabaseError;

use crate::numbers::{ErrorScope, error_scope};
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
        "the address of Redis is wrong: {0}; it should read redis://host:port/ or rediss://host:port/, the nodes of a Redis Cluster separated by commas, or redis+sentinel://host:port,host:port/service/0"
    )]
    RedisAddress(#[source] redis::RedisError),
    /// The file of Redis' CA cannot be read.
    #[error(
        "the CA of Redis, {file}, cannot be read: {error}; storage.redis_ca must name a PEM file"
    )]
    RedisCa {
        /// The file.
        file: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
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
        "migration {version} failed at {statement:?}: {source}; correct the cause and run `gimlet migrate` \
         again, it goes on where it stopped"
    )]
    Migrate {
        /// Which.
        version: i64,
        /// The first line of the statement.
        statement: String,
        /// What the server said.
        source: sqlx::Error,
    },
    /// Tables of these names are there, and gimlet did not make them.
    #[error(
        "the database has tables that gimlet would make and did not: {}; give gimlet a database of its own",
        .tables.join(", ")
    )]
    Foreign {
        /// Their names.
        tables: Vec<String>,
    },
    /// The server, or its settings, cannot be worked with.
    #[error(transparent)]
    Unfit(#[from] UnfitServer),
    /// Redis holds the keys of another cluster under this prefix.
    #[error("Redis cannot be used: {0}")]
    OtherCluster(String),
}

impl OpenError {
    /// Why a connection could not be made.
    pub(crate) fn from_connecting(fault: Fault) -> Self {
        match fault {
            Fault::Unfit(unfit) => Self::Unfit(unfit),
            Fault::Mysql(error) => Self::Mysql(error),
            other => {
                let text = format!("no connection within 10 s: {other}");
                let error = std::io::Error::new(std::io::ErrorKind::TimedOut, text);
                Self::Mysql(sqlx::Error::Io(error))
            }
        }
    }
}

/// Why a server is not used. Each says what to change.
#[derive(Debug, thiserror::Error)]
pub enum UnfitServer {
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
        "max_allowed_packet is {found} bytes on this MySQL server, and at least {least} are needed: raise it"
    )]
    Packet {
        /// What it is set to.
        found: u64,
        /// What is needed.
        least: u64,
    },
    /// The server takes no changes.
    #[error(
        "{variable} is on at this MySQL server, so it is a replica or was replaced: storage.mysql_url must lead to the primary"
    )]
    ReadOnly {
        /// The server variable.
        variable: &'static str,
    },
    /// The binary log cannot hold what READ COMMITTED changes.
    #[error(
        "binlog_format is STATEMENT on this MySQL server, which refuses changes under READ COMMITTED: set binlog_format = ROW"
    )]
    BinlogFormat,
    /// A session did not keep a setting.
    #[error(
        "{variable} is {found:?} after it was set to {needed:?} for this session: connect to MySQL directly, or by a proxy that gives each client a session of its own"
    )]
    Session {
        /// The session variable.
        variable: &'static str,
        /// What it is.
        found: String,
        /// What it was set to.
        needed: &'static str,
    },
    /// Too few prepared statements for the connections.
    #[error(
        "max_prepared_stmt_count is {found} on this MySQL server, of which {used} are in use, and {connections} connections need at least {needed}: raise it, or lower storage.mysql_connections"
    )]
    PreparedStatements {
        /// What it is set to.
        found: u64,
        /// How many there are.
        used: u64,
        /// Connections of this process.
        connections: u32,
        /// The least that it must be.
        needed: u64,
    },
}

/// Why a call failed, before it is known which call it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// MySQL, or the way to it.
    #[error("mysql")]
    Mysql(#[from] sqlx::Error),
    /// MySQL is there and cannot be worked with.
    #[error(transparent)]
    Unfit(#[from] UnfitServer),
    /// The storage was closed.
    #[error("the storage is closed")]
    Closed,
    /// Redis, or the way to it.
    #[error("redis")]
    Redis(#[from] redis::RedisError),
    /// Nothing was committed within the call's time.
    #[error("no answer in time; nothing was committed")]
    Deadline,
    /// Redis failed a moment ago and is not asked again yet.
    #[error("redis does not answer; it is asked again shortly")]
    Down,
    /// The keys under this prefix are another cluster's.
    #[error("{0}")]
    OtherCluster(String),
    /// The commit, or a change without a transaction, was sent and its answer never came.
    #[error("the answer to a change was lost: {0}")]
    Unknown(String),
    /// An inbox is shorter than this process has seen it: the store's history went back.
    #[error("the inbox of {user} ends at {found}, and {known} was seen before")]
    WentBack {
        /// Whose inbox.
        user: UserId,
        /// Its last known entry.
        known: Seq,
        /// Its last entry now.
        found: Seq,
    },
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
            Self::Deadline
            | Self::Down
            | Self::Closed
            | Self::Unfit(_)
            | Self::WentBack { .. }
            | Self::OtherCluster(_) => Kind::Unavailable,
            Self::Unknown(_) => Kind::Unknown,
            Self::Corrupt(_) | Self::Unreadable(_) => Kind::Corrupt,
            Self::Misuse(_) => Kind::Misuse,
        };
        StoreError::with(op, kind, self)
    }

    /// The number of an error of sqlx, if it is one that the server answered.
    pub(crate) fn number_of(error: &sqlx::Error) -> Option<u16> {
        number(error)
    }

    /// Nothing, or nothing of use, came from the server, as opposed to a fault of what was asked.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Mysql(error) => matches!(mysql_kind(error), Kind::Unavailable | Kind::Full),
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

    /// The number of the server's error, if the server answered one.
    pub(crate) fn number(&self) -> Option<u16> {
        match self {
            Self::Mysql(error) => number(error),
            _ => None,
        }
    }

    /// A row with this unique key is there already.
    pub(crate) fn is_duplicate(&self) -> bool {
        self.scope() == ErrorScope::Duplicate
    }

    /// Another session holds a lock: for longer than it is waited for, or where it is not waited for.
    pub(crate) fn is_lock(&self) -> bool {
        self.scope() == ErrorScope::Locked
    }

    /// What the fault is about, and so what is done next.
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

    /// The way to the server broke, as opposed to an answer of the server.
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

    /// Whether the connection must not be used again.
    pub(crate) fn ends_connection(&self) -> bool {
        use ErrorScope::{Connection, Crowded, Server, Statements};
        matches!(self.scope(), Connection | Crowded | Server | Statements)
    }

    /// Whether a COMMIT that failed so has certainly changed nothing.
    pub(crate) fn refuses_commit(&self) -> bool {
        let number = self.number();
        number.is_some_and(|number| error_scope(number).refuses_commit(number))
    }
}

fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    Some(error.try_downcast_ref::<MySqlDatabaseError>()?.number())
}

fn mysql_kind(error: &sqlx::Error) -> Kind {
    match error {
        sqlx::Error::Database(_) => match number(error).map(error_scope) {
            Some(ErrorScope::Full) => Kind::Full,
            Some(ErrorScope::Value) => Kind::Misuse,
            Some(ErrorScope::Damaged) => Kind::Corrupt,
            // By another session; or a deadlock that tries did not solve.
            Some(ErrorScope::Locked | ErrorScope::Conflict) => Kind::Contended,
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
