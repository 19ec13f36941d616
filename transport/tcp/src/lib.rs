//! TCP with gim's two-byte length frames.
//!
//! Serves the server's client listener. It knows sockets and lengths; packets are the session's.

mod frame;
mod link;
mod listener;

pub use link::TcpLink;
pub use listener::{TcpFrames, TcpPending};
