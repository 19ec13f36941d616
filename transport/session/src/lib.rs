//! The session layer shared by all wires: turns frames into requests to a gateway, and back.
//!
//! A wire (`gimlet-transport-tcp`, `gimlet-transport-ws`) provides links that carry frames
//! ([`link`]); [`serve::accept`] accepts them, and a [`Sessions`] serves them:
//!
//! ```text
//! frame ─ dispatch ─ packet ─ convert ─ request ─ session ─ gateway      (in)
//! frame ─────────── encode ───────────────────── session ─ hub           (out)
//! ```
//!
//! It knows gim's packets and core's gateway; it does not know sockets or stores.

pub mod admission;
mod body;
mod close;
pub mod convert;
pub mod development;
mod dispatch;
mod encode;
mod failures;
#[cfg(test)]
mod golden_tests;
pub mod link;
pub mod origins;
mod page;
mod push_codec;
pub mod serve;
mod session;
mod settings;
pub mod socket;
mod stats;
pub mod wrong_port;

pub use failures::{Attempt, Failures};
pub use link::{Greeting, Link, LinkError, Listener, Opened, Pending, UrlSignIn, Wire};
pub use push_codec::WirePushes;
pub use session::Sessions;
pub use settings::SessionSettings;
pub use stats::Stats;
