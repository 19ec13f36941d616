//! WebSocket: one message is one frame, binary with protobuf or a text with JSON.
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
pub use upgrade::{UpgradeAnswer, UpgradeRefusal};
