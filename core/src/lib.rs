//! What gimlet means: messages, inboxes, the store traits, services and the hub of live connections.
//!
//! **The inbox is the truth. A connection is a cursor over it. A push is a hint that carries its
//! message.**
//!
//! This crate knows no socket, no SQL, no protobuf and no environment variable. A [`Node`](node::Node)
//! is all of it in one value; here is one inside a test:
//!
//! ```
//! use std::sync::Arc;
//! use gimlet_core::{business::Open, id::{DeviceId, UserId}, memory, message::{Draft, Sender}, node::NodeBuilder};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), gimlet_core::error::Refusal> {
//! let node = NodeBuilder::new(memory::stores(), Arc::new(Open)).start();
//! let (alice, bob) = (UserId::new(1).unwrap(), UserId::new(2).unwrap());
//! let phone = Sender::User { user: alice, device: DeviceId::new(1) };
//! let sent = node.service().send(phone, Draft::text(bob, "hi")).await?;
//! assert_eq!(sent.seq.get(), 1);
//! node.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Where what is
//!
//! - [`store`]: the seams to a database, one trait a file; [`memory`] keeps them in this process, and
//!   `testkit` (a feature) is the suite that every backend runs.
//! - [`service`]: the logic role: devices, sign-in, send, sync, groups, friends, rooms; [`batch`] puts
//!   sends that wait into one commit, [`fanout`] finds who is to be told.
//! - [`gateway`] and [`hub`]: the connect role: live connections with a cursor each.
//! - [`logic`], [`peer`], [`business`]: the seams between roles, nodes, and to the backend's users.
//!
//! # The laws
//!
//! Each is a case of the contract suite, or a test of its own, that tries to break it.
//!
//! 1. **Stored before answered, durable before seen.** A send's reply, every push and every read come
//!    after the append is durable.
//! 2. **No late arrivals.** Once a reader was given seq n, no entry below n ever appears.
//! 3. **Contiguous.** An inbox's seqs are 1, 2, 3 … above its retention floor, without hole or repeat.
//! 4. **Idempotent.** A send repeated with its key within the window stores nothing and returns the
//!    first result; the same key with other content is a conflict.
//! 5. **All or nothing.** A message's entries appear in all recipients' inboxes or in none; for a group
//!    above one batch, in all of them eventually, also if the node dies half-way.
//! 6. **A lost push costs nothing but time**, at most one heartbeat.
//! 7. **A route belongs to a connection, not to a device.** The larger generation wins; a stale release
//!    changes nothing.
//! 8. **What has a lease ends without a goodbye.**
//! 9. **Acks only go forward**, and never past what was served.
//! 10. **A changed history says so**: a store has an epoch. A head that goes back ends the history:
//!     the epoch is renewed, by compare-and-set, before anything else is accepted.
//! 11. **Nobody else's bytes.** A message reaches its recipients only; a removed member gets nothing
//!     accepted after the removal was answered.
//! 12. **Every list is paged and ordered; every queue and buffer is bounded in bytes; every wait has a
//!     deadline; order and leases never rest on wall-clock time.**

pub mod batch;
pub mod business;
pub mod dependency;
pub mod directory;
pub mod envelope;
pub mod error;
pub mod fanout;
pub mod gateway;
pub mod hub;
pub mod id;
pub mod limits;
pub mod log_rate;
pub mod logic;
mod map;
pub mod memory;
pub mod message;
pub mod node;
pub mod page;
pub mod peer;
pub mod room_batch;
pub mod sending;
pub mod seq;
pub mod service;
pub mod store;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod time;
mod unknown;
pub mod verify;
mod wakes;
