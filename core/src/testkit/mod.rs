//! The contract suite that every backend runs (feature `testkit`).
//!
//! A case is a sentence about the store traits or a law of the design; each case gets a fresh
//! store. A case that is missing from the list in `contract.rs` is dead code, which the lints refuse,
//! so a forgotten case does not compile. The cases of a missing backend are shown as ignored, or as a
//! failure if `GIMLET_TEST_REQUIRE_BACKENDS=1` requires the backend.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed case should panic"
)]

mod account;
mod api_key;
mod case;
mod contract;
mod device;
mod events;
mod fixture;
mod flush;
mod friend;
mod group;
pub mod helpers;
mod inbox;
mod job;
mod jwt_user;
mod key;
mod model;
mod outbox;
mod outbox_queue;
mod push_token;
mod races;
mod restart;
mod room;
mod route;
mod seq;
mod suite;

pub use fixture::{FlushControl, ReopenStores, StoreFixture};
pub use suite::{ContractSuite, TestBackend, run};
