//! What faults of a cluster cost: servers of its own that stop, die, freeze and forget; a steady
//! load whose every answered send is judged; and the time until it is served again.
//!
//! Serves `tests/faults`. Whatever does not go as told panics.

#![expect(
    clippy::missing_panics_doc,
    reason = "whatever does not go as told panics: that is what a test is for"
)]

mod backend;
mod database;
mod ear;
mod flow;
mod lead;
mod load;
mod log;
mod pair;
mod redises;
mod row;
mod sender;
mod shared;
mod swallow;
mod watcher;
mod way;

pub use backend::Backend;
pub use database::{Database, Sql};
pub use ear::Ear;
pub use flow::{request, text_bytes};
pub use lead::Lead;
pub use load::Load;
pub use pair::Pair;
pub use redises::Redises;
pub use row::{Row, table};
pub use sender::Caller;
pub use swallow::Swallow;
pub use way::Way;

use crate::cluster::variable;

/// Whether outages last as long as it is promised they may, and not only a moment.
#[must_use]
pub fn is_long() -> bool {
    variable("GIMLET_TEST_LONG").is_some_and(|value| value == "1")
}
