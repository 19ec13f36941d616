//! Measures the cost of faults in a cluster: private servers that stop, die, freeze and lose data;
//! a steady load whose every answered send is checked; and the time until the load is served again.
//!
//! Serves `tests/faults`. A failed expectation panics.

#![expect(
    clippy::missing_panics_doc,
    reason = "a failed expectation panics: this is code for tests"
)]

mod commit_answer_dropper;
mod database;
mod fault_row;
mod first_node_proxy;
mod flow;
mod grpc_sender;
mod load;
mod load_state;
mod log;
mod mariadb_pair;
mod private_backend;
mod redis_group;
mod switchable_proxy;
mod text;
mod watched_connection;
mod watcher;

pub use commit_answer_dropper::CommitAnswerDropper;
pub use database::{SqlConnection, TempDatabase};
pub use fault_row::{FaultRow, table};
pub use first_node_proxy::FirstNodeProxy;
pub use flow::request;
pub use grpc_sender::GrpcSender;
pub use load::FaultLoad;
pub use mariadb_pair::MariaDbPair;
pub use private_backend::PrivateBackend;
pub use redis_group::RedisGroup;
pub use switchable_proxy::SwitchableProxy;
pub use text::text_bytes;
pub use watched_connection::WatchedConnection;

use crate::cluster::variable;

/// Returns whether outages last as long as the documentation promises, and not only a moment.
#[must_use]
pub fn is_long() -> bool {
    variable("GIMLET_TEST_LONG").is_some_and(|value| value == "1")
}
