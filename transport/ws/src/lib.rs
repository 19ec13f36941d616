//! WebSocket: one binary message is one frame.
//!
//! Used for the server's client listener. It handles the HTTP upgrade and WebSocket frames; the
//! session handles packets.

mod gather;
mod link;
mod listener;
mod query;
mod upgrade;

pub use link::WsLink;
pub use listener::WsFrameListener;
