//! gimlet's storage for clusters: MySQL (or MariaDB, or TiDB) for durable data, Redis for volatile
//! data.
//!
//! Serves any number of nodes at once; [`open()`] gives one node its [`StoreSet`].
//!
//! # Where data is stored
//!
//! | durable, in MySQL (`mysql`) | volatile, in Redis (`redis`) |
//! |---|---|
//! | inboxes, messages, heads, idempotency keys, fan-out jobs | routes: a device's node |
//! | groups, friends, devices and generations, acks, hooks' events | the nodes' leases |
//! | users and token hashes of the built-in business service | rooms and their brief history |
//!
//! Losing all of Redis loses no durable data: routes are registered again, and each room starts a
//! new stream. No call of a MySQL trait touches Redis.
//!
//! # Durability
//!
//! An entry is stored when the server has committed it with `innodb_flush_log_at_trx_commit = 1`
//! and, if the binary log is on, `sync_binlog = 1`; [`open()`] refuses a server with other
//! settings. Turn the binary log on: without it, the engine shows a commit to other sessions an
//! instant before the commit is on disk; with it, never.
//!
//! # Implementation
//!
//! A batch of sends is one transaction of a few statements (`mysql::append`), however many sends
//! and recipients share it. Each transaction runs in its own task, within a deadline. A deadlock or
//! a broken connection is retried; a commit whose answer was lost is
//! [`StoreErrorKind::Unknown`](gimlet_core::store::StoreErrorKind::Unknown). The SQL is the subset
//! that MySQL 8, MariaDB 10.6 and TiDB have in common; it is tested on MariaDB 10.11.
//!
//! This crate knows the traits of `gimlet-core`; no client sockets, no service, no other backend.

mod config;
mod error;
mod error_numbers;
mod examine;
mod migrate;
mod mysql;
mod open;
mod record;
mod redis;
mod retry;
mod unix_time;
mod verify;

pub use config::{Config, MysqlConfig, RedisConfig};
pub use error::{OpenError, UnfitServer};
pub use error_numbers::{ERROR_NUMBERS, ErrorScope, error_scope};
pub use examine::{MysqlExamination, examine_mysql};
#[doc(hidden)]
pub use migrate::migration_statements;
pub use migrate::{migrate, pending};
pub use mysql::{SESSION_SETTINGS, ServerKinds, SessionSetting};
pub use open::{MysqlStores, OpenedStores, RedisStores, open, open_lasting, open_live};
pub use redis::{RedisExamination, examine_redis};
pub use verify::verify;

#[cfg(doc)]
use gimlet_core::store::StoreSet;
