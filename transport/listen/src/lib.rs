//! The one way in: what happens to a client's socket before its protocol begins.

pub mod forwarded;
pub mod pem;
pub mod proxy_protocol;
mod trusted;

pub use trusted::{Network, TrustedProxies};
