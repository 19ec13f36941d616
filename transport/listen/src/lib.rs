//! The one way in: what happens to a client's socket before its protocol begins.
//!
//! Every listener of the server (TCP, WebSocket, gRPC, HTTP, ops) runs [`accept`]:
//!
//! ```text
//! accept ─ connection permit ─ PROXY header ─ TLS handshake
//!        ─ ConnectionProtocol::open ─ ConnectionProtocol::serve
//! ```
//!
//! Everything up to the end of `open` shares one deadline and counts against the connection limits.
//! A [`ClientStream`] is a plain or a TLS socket, and the address that goes with it is the client's
//! own, also behind a trusted proxy. This crate knows no frame, request or service.

pub mod admission;
pub mod development;
mod entrance;
pub mod forwarded;
pub mod origins;
pub mod pem;
pub mod proxy_protocol;
mod refuse;
pub mod socket;
mod stop_tokens;
mod stream;
pub mod tls;
mod trusted;
pub mod wrong_port;

pub use entrance::{
    AcceptLimits, AdmittedConnection, BoundListener, ConnectionProtocol, EntranceState,
    ListenerEntrance, accept, accept_each, attend, note_address,
};
pub use refuse::{refuse, refuse_proxy};
pub use stop_tokens::StopTokens;
pub use stream::{ClientStream, CountedSocket};
pub use tls::{AlpnProtocols, ListenerTls, ServerTls};
pub use trusted::{TrustedNetwork, TrustedProxies};
