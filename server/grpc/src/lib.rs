//! gim's gRPC services, on the clients' addresses and on the internal one.
//!
//! Each handler converts, calls core, and converts back. `call_layer` puts gim's status codes on the
//! wire, `guard` authenticates callers, `accept` hands connections to tonic. This crate decides
//! nothing that another entry point would have to decide as well.

mod accept;
#[cfg(test)]
mod answer_bounds;
mod business;
mod call_counter;
mod call_layer;
mod connect_int;
mod convert;
mod guard;
mod health;
mod list_pages;
mod logic_ext;
mod logic_int;
mod services;
mod status;
#[cfg(test)]
mod tests;
mod unimplemented;
mod unread_answers;

pub use call_counter::CallCounter;
pub use health::GrpcHealth;
pub use services::{CallerKind, GrpcServices, ListenerServices};
pub use unread_answers::ListenerUnread;

/// The error of a listener that has failed.
pub type ServeError = tonic::transport::Error;
