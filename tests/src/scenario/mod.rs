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
mod matrix;
mod matrix_cell;
mod person;
mod servers;
mod tls;

pub use bare_connection::{BareConnection, packet};
pub use device::Device;
pub use expectations::{ExpectedReception, MessageReceiver, PendingSend, UnaddressedText};
pub use fixture::ScenarioFixture;
pub use group::Group;
pub use grpc_services::GrpcServices;
pub use matrix::{ScenarioStore, ScenarioWire};
pub use matrix_cell::MatrixCell;
pub use person::ScenarioUser;

pub use crate::waiting::{PATIENCE, soon};
