//! Durable data in MySQL: inboxes, keys, jobs, groups, friends, devices, accounts.
//!
//! Each trait has its own file. Each change is one transaction (`Db::change`), except for changes
//! of one statement that may be repeated (`Db::once`). `append` appends a batch, with its decisions
//! separated into `decide`.

mod account;
mod append;
mod connect;
mod cut;
mod db;
mod decide;
mod device;
mod friend;
mod group;
mod history;
mod inbox;
mod job;
mod lock;
mod open;
mod pool;
mod seq;
mod session;
mod settings;
mod tokens;

pub(crate) use connect::{Connector, opening_step};
pub(crate) use db::Db;
pub(crate) use history::{CommitLog, Mark};
pub(crate) use open::open;
pub(crate) use settings::Purpose;
pub use settings::{SESSION_SETTINGS, Servers, SessionSetting};

use gimlet_core::page::Page;
use sqlx::mysql::MySqlRow;

use crate::error::Fault;

/// Builds a page of at most `limit` rows; the query asked for one row more.
fn page<T>(
    rows: &[MySqlRow],
    limit: usize,
    read: impl Fn(&MySqlRow) -> Result<T, Fault>,
) -> Result<Page<T>, Fault> {
    let items: Result<Vec<T>, Fault> = rows.iter().take(limit).map(read).collect();
    Ok(Page {
        items: items?,
        more: rows.len() > limit,
    })
}
