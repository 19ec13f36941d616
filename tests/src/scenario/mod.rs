//! Stories about people, devices and one server, told in sentences.
//!
//! Serves the tests under `tests/`: `alice.phone.sends("hi").to(&bob).await`, then
//! `bob.phone.receives("hi").at(1).await`. A story that does not come true panics and says what
//! was expected. Waiting is always for a condition and always has an end. It knows the server only
//! by its ports.

#![expect(
    clippy::missing_panics_doc,
    reason = "whatever does not go as told panics: that is what a test is for"
)]

mod bare;
mod calls;
mod cell;
mod device;
mod group;
mod house;
mod person;
mod relay;
mod said;
mod world;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

pub use bare::{Bare, packet};
pub use calls::Calls;
pub use cell::{Cell, Store, Wire};
pub use device::Device;
pub use group::Group;
pub use person::Person;
pub use relay::Relay;
pub use said::{Addressee, Receiving, Sending, Words};
pub use world::World;

/// How long anything may take that must happen.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Waits for what must happen.
pub async fn soon<T>(what: impl fmt::Display, work: impl Future<Output = T>) -> T {
    let done = timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}
