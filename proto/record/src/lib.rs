//! The stored form of a message: `gimlet.store.v1.Message`, `Envelope` with its sender's profile, and
//! `Event` for hooks.
//!
//! Every storage and the traffic between nodes use this form, so a field that is added to core's
//! [`Message`](gimlet_core::message::Message) is added here once. The writer names every field, and
//! does not compile while one is missing. `docs/development.md` lists the files.
//!
//! The bytes are those of protobuf for `store.proto` (a test compares them with generated types).
//! Messages are read and written directly, for two reasons. Generated types drop fields that they do
//! not know, but a message of a newer release must keep such fields on its way through a node of
//! this release. And a page of an inbox is decoded without a value of the generated type for each
//! entry.

mod envelope;
mod error;
mod event;
mod message;
#[cfg(feature = "testkit")]
pub mod testkit;
mod wire;

pub use envelope::{decode_envelope, encode_envelope, encode_envelope_to, encoded_envelope_len};
pub use error::DecodeError;
pub use event::{decode_event, encode_event};
pub use message::{decode, decode_shared, encode, encode_to, encoded_len};
