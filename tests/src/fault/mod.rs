//! Measures the cost of faults in a cluster: private servers that stop, die, freeze and lose data;
//! a steady load whose every answered send is checked; and the time until the load is served again.
//!
//! Serves `tests/faults`. A failed expectation panics.

#![expect(
    clippy::missing_panics_doc,
    reason = "a failed expectation panics: this is code for tests"
)]

mod fault_row;
mod flow;
mod grpc_sender;
mod load;
mod load_state;
mod log;
mod mariadb_pair;
mod redis_group;
mod rolling;
mod text;
mod watched_connection;
mod watcher;

pub use fault_row::{FaultRow, table};
pub use flow::request;
pub use grpc_sender::GrpcSender;
pub use load::FaultLoad;
pub use mariadb_pair::MariaDbPair;
pub use redis_group::RedisGroup;
pub use rolling::restart_in_turn;
pub use text::text_bytes;
pub use watched_connection::WatchedConnection;

use gimlet_kit::backend::variable;

/// Returns whether outages last as long as the documentation promises, and not only a moment.
#[must_use]
pub fn is_long() -> bool {
    variable("GIMLET_TEST_LONG").is_some_and(|value| value == "1")
}
