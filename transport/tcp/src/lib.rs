//! TCP with gim's framing.
//!
//! Used for the server's client listener. It handles sockets and frames; the session handles
//! packets.

mod frame;
mod link;
mod listener;

pub use link::TcpLink;
pub use listener::TcpFrameListener;
