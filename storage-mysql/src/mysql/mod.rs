//! Durable data in MySQL: inboxes, keys, jobs, groups, friends, devices, accounts, API keys,
//! events, push addresses, users of JWTs.
//!
//! Each trait has its own file. Each change is one transaction (`MysqlEngine::change`), except for
//! changes of one statement that may be repeated (`MysqlEngine::once`). `append` appends a batch,
//! with its decisions separated into `decide`.

mod account;
mod api_key;
mod append;
mod chunks;
mod connect;
mod decide;
mod device;
mod engine;
mod entries;
mod epoch_cache;
mod events;
mod friend;
mod group;
mod history;
mod import;
mod inbox;
mod job;
mod jwt_user;
mod lock;
mod open;
mod outbox;
mod outbox_page;
mod outbox_rows;
mod pool;
mod push_token;
mod seq;
mod session;
mod settings;
mod tokens;

pub(crate) use account::MysqlAccounts;
pub(crate) use connect::{MysqlConnector, opening_step};
pub(crate) use engine::MysqlEngine;
pub(crate) use history::{CommitLog, CommitMark};
pub(crate) use open::open;
pub(crate) use settings::ConnectionPurpose;
pub use settings::{SESSION_SETTINGS, ServerKinds, SessionSetting};

use gimlet_core::page::ListPage;
use sqlx::mysql::MySqlRow;

use crate::error::EngineError;

/// Builds a page of at most `limit` rows; the query asked for one row more.
fn page<T>(
    rows: &[MySqlRow],
    limit: usize,
    read: impl Fn(&MySqlRow) -> Result<T, EngineError>,
) -> Result<ListPage<T>, EngineError> {
    let items: Result<Vec<T>, EngineError> = rows.iter().take(limit).map(read).collect();
    Ok(ListPage {
        items: items?,
        more: rows.len() > limit,
    })
}
