//! Scenarios with users, devices and servers, written as sentences.
//!
//! Serves the tests under `tests/`: `alice.phone.sends("hi").to(&bob).await`, then
//! `bob.phone.receives("hi").at(1).await`. A failed expectation panics with the expected value.
//! Every wait is for a condition and has a time limit. A scenario contacts the server only through
//! its ports.

#![expect(
    clippy::missing_panics_doc,
    reason = "a failed expectation panics: this is code for tests"
)]

mod bare_connection;
mod device;
mod expectations;
mod fixture;
mod group;
mod grpc_services;
mod matrix_cell;
mod person;
mod relay;
mod servers;
mod tls;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

pub use bare_connection::{BareConnection, packet};
pub use device::Device;
pub use expectations::{ExpectedReception, MessageReceiver, PendingSend, UnaddressedText};
pub use fixture::ScenarioFixture;
pub use group::Group;
pub use grpc_services::GrpcServices;
pub use matrix_cell::{MatrixCell, ScenarioStore, ScenarioWire};
pub use person::ScenarioUser;
pub use relay::TcpRelay;

/// Longest wait for anything that must happen.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Waits for something that must happen, with a time limit.
pub async fn soon<T>(what: impl fmt::Display, work: impl Future<Output = T>) -> T {
    let done = timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}
