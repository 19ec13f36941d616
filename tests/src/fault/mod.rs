//! Measures the cost of faults in a cluster: private servers that stop, die, freeze and lose data;
//! a steady load whose every answered send is checked; and the time until the load is served again.
//!
//! Serves `tests/faults`. A failed expectation panics.

#![expect(
    clippy::missing_panics_doc,
    reason = "a failed expectation panics: this is code for tests"
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

/// Returns whether outages last as long as the documentation promises, and not only a moment.
#[must_use]
pub fn is_long() -> bool {
    variable("GIMLET_TEST_LONG").is_some_and(|value| value == "1")
}
