//! Calls that this server makes over HTTP: webhooks, push services, the business server, key sets.
//!
//! Everything that a target can do is bounded: an exchange has one deadline from the first lookup to
//! the last byte, an answer has a largest size, a host has a largest number of exchanges. A redirect
//! is an answer like others and is never followed, and no proxy of the environment is used. TLS
//! certificates are verified.
//!
//! A target that lies in a private network is refused unless the operator allows its network,
//! because addresses of targets may come from strangers. The rule is applied to the *resolved*
//! address, at the time of each connect, so a name that changes its address later does not pass
//! either ([`AddressRules`]).
//!
//! The crate knows no event, user or setting; [`signature`] implements Standard Webhooks.

mod address;
mod client;
mod error;
mod host_permits;
mod policy;
mod resolver;
pub mod signature;
mod target;

pub use address::AddressRules;
pub use client::{OutboundClient, OutboundResponse, client_tls};
pub use error::OutboundError;
pub use policy::OutboundPolicy;
pub use resolver::{NameLookup, SystemLookup};
pub use target::{OutboundUrl, OutboundUrlError};
