//! WebSocket: one binary message is one frame.
//!
//! Serves the server's client listener. It knows HTTP's upgrade and WebSocket's frames; packets are
//! the session's.

mod gather;
mod link;
mod listener;
mod query;
mod upgrade;

pub use link::WsLink;
pub use listener::{WsFrames, WsPending};
