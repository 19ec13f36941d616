//! The one way in: what happens to a client's socket before its protocol begins.

pub mod forwarded;
pub mod pem;
pub mod proxy_protocol;
mod stream;
pub mod tls;
mod trusted;

pub use stream::{CountedSocket, Stream};
pub use tls::{Alpn, ListenerTls, ServerTls};
pub use trusted::{Network, TrustedProxies};
