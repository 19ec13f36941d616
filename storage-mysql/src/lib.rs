//! gimlet's storage for clusters: MySQL (or MariaDB, or TiDB) for what lasts, Redis for what lives.
//!
//! Serves any number of nodes at once; [`open()`] gives one node its [`Stores`].
//!
//! # What is where
//!
//! | lasts, in MySQL (`mysql`) | lives, in Redis (`redis`) |
//! |---|---|
//! | inboxes, messages, heads, idempotency keys, fan-out jobs | which node holds which device |
//! | groups, friends, devices and generations, acks | the nodes' leases |
//! | users and hashes of tokens of the built-in business service | rooms and their brief history |
//!
//! Losing all of Redis loses nothing that lasts: routes are registered again, rooms start another
//! stream. No call of a MySQL trait touches Redis.
//!
//! # What "stored" means
//!
//! The server's commit, with `innodb_flush_log_at_trx_commit = 1` and, where the binary log is on,
//! `sync_binlog = 1`; [`open()`] refuses a server with other settings. Turn the binary log on: without
//! the engine shows a commit to others an instant before it is on disk, with it never.
//!
//! # How it works
//!
//! A batch of sends is one transaction of a few statements (`mysql::append`), however many sends
//! and recipients share it. Each transaction runs in a task of its own, within a deadline; a
//! deadlock or a broken connection is tried again, a commit whose answer was lost is
//! [`Kind::Unknown`](gimlet_core::store::Kind::Unknown). The SQL is what MySQL 8, MariaDB 10.6 and
//! TiDB accept alike; it is tested on MariaDB 10.11.
//!
//! This crate knows `gimlet-core`'s seams; no socket of clients, no service, no other backend.

mod config;
mod error;
mod migrate;
mod mysql;
mod numbers;
mod open;
mod record;
mod redis;
mod retry;
mod verify;

pub use config::{Config, MysqlConfig, RedisConfig};
pub use error::{OpenError, UnfitServer};
#[doc(hidden)]
pub use migrate::migration_statements;
pub use migrate::{migrate, pending};
pub use mysql::{SESSION_SETTINGS, Servers, SessionSetting};
pub use numbers::{ERROR_NUMBERS, ErrorScope, error_scope};
pub use open::{Lasting, Live, Opened, open, open_lasting, open_live};
pub use verify::verify;

#[cfg(doc)]
use gimlet_core::store::Stores;
