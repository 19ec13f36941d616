//! What gimlet means: messages, inboxes, the store traits, services and the hub of live connections.
//!
//! **The inbox is the truth. A connection is a cursor over it. A push is a hint that carries its
//! message.**

pub mod batch;
pub mod business;
pub mod directory;
pub mod envelope;
pub mod error;
pub mod fanout;
pub mod gateway;
pub mod hub;
pub mod id;
pub mod limits;
pub mod logic;
pub mod memory;
pub mod message;
pub mod node;
pub mod page;
pub mod peer;
pub mod seq;
pub mod service;
pub mod store;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod time;
