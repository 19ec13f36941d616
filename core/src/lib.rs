//! Domain core of gimlet: messages, inboxes, the store traits, services and the hub of live
//! connections.
//!
//! **The inbox is the truth. A connection is a cursor over it. A push is a hint that carries its
//! message.**
//!
//! This crate has no sockets, no SQL, no protobuf and no environment variables. A
//! [`RunningNode`](node::RunningNode) holds all parts in one value; this example runs one inside a
//! test:
//!
//! ```
//! use std::sync::Arc;
//! use gimlet_core::{business::OpenBusiness, id::{DeviceId, UserId}, memory, message::{MessageDraft, MessageSender}, node::NodeBuilder};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), gimlet_core::error::RequestRefusal> {
//! let node = NodeBuilder::new(memory::stores(), Arc::new(OpenBusiness)).start();
//! let (alice, bob) = (UserId::new(1).unwrap(), UserId::new(2).unwrap());
//! let phone = MessageSender::User { user: alice, device: DeviceId::new(1) };
//! let sent = node.service().send(phone, MessageDraft::text(bob, "hi")).await?;
//! assert_eq!(sent.seq.get(), 1);
//! node.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Module map
//!
//! - [`store`]: the seams to a database, one trait per file; [`memory`] implements them in this
//!   process, and `testkit` (a feature) is the contract suite that every backend runs.
//! - [`service`]: the logic role: devices, sign-in, send, sync, groups, friends, rooms; [`batch`]
//!   writes waiting sends in one commit, [`fanout`] delivers stored entries to the recipients'
//!   connections. [`backlog`], [`rate`], `roster` and `janitor` are what these have in common.
//! - [`accounts`]: sign-in, profiles and sign-out of the built-in business service, as clients call
//!   them.
//! - [`push_registry`]: addresses of devices at push services, as clients register them.
//! - [`hook_delivery`]: delivers stored events to the hooks' endpoints.
//! - [`before_send`]: the hook that is asked before a message is accepted.
//! - [`auth`]: the checks of callers' tokens, API keys and secrets, and the limits of wrong ones;
//!   [`scope`] lists the scopes of API keys.
//! - [`gateway`] and [`hub`]: the connect role: live connections, each with a cursor.
//! - [`logic`], [`peer`], [`business`]: the seams between roles, between nodes, and to the business
//!   backend.
//! - [`events`]: the changes that hooks are told about, stored with the change in the outbox;
//!   [`hook_lease`] gives one node at a time the delivery of a hook.
//! - [`coalesce`]: answers what many callers ask at the same time by one call of a store.
//!
//! # The laws
//!
//! For each law a case of the contract suite, or a separate test, tries to break it.
//!
//! 1. **Stored before answered, durable before seen.** A send's reply, every push and every read
//!    come after the append is durable.
//! 2. **No late arrivals.** After a reader got seq n, no new entry below n appears.
//! 3. **Contiguous.** An inbox's seqs are 1, 2, 3 … above its retention floor, without gaps or
//!    repeats.
//! 4. **Idempotent.** A send repeated with its key within the window stores nothing and returns the
//!    first result; the same key with other content is a conflict.
//! 5. **All or nothing.** A message's entries appear in all recipients' inboxes or in none. In a
//!    group that is too large for one batch they appear in all of them eventually, even if the node
//!    dies.
//! 6. **A lost push costs only time**, at most one heartbeat.
//! 7. **A route belongs to a connection, not to a device.** The larger generation wins; a stale
//!    release changes nothing.
//! 8. **Leases expire without an explicit release.**
//! 9. **Acks only go forward**, and never past what was served.
//! 10. **A changed history is visible**: a store has an epoch. A head that goes back ends the
//!     history: the epoch is renewed, by compare-and-set, before anything else is accepted.
//! 11. **Recipients only.** A message reaches its recipients and no other user; a removed member
//!     gets no message that was accepted after the removal was answered.
//! 12. **Every list is paged and ordered; every queue and buffer is bounded in bytes; every wait
//!     has a deadline; order and leases never depend on wall-clock time.**

pub mod account_import;
pub mod accounts;
pub mod auth;
pub mod backlog;
pub mod batch;
pub mod before_send;
pub mod business;
pub mod coalesce;
pub mod delivery;
pub mod dependency;
mod digest;
pub mod directory;
pub mod envelope;
pub mod error;
pub mod events;
pub mod fanout;
pub mod frame_form;
pub mod gateway;
pub mod histogram;
pub mod hook_delivery;
pub mod hook_lease;
pub mod hub;
pub mod id;
pub mod inbox_watch;
mod janitor;
pub mod limits;
pub mod list;
pub mod log_rate;
pub mod logic;
mod map;
pub mod memory;
pub mod message;
pub mod node;
pub mod page;
pub mod peer;
pub mod push_registry;
pub mod rate;
pub mod room_batch;
mod roster;
pub mod scope;
pub mod send_future;
pub mod seq;
pub mod service;
pub mod store;
#[cfg(test)]
mod test_fixtures;
#[cfg(feature = "testkit")]
pub mod testkit;
mod text_limits;
pub mod time;
pub mod trace;
mod unknown;
pub mod verify;
mod wake_list;
