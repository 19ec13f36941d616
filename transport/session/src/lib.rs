//! The session layer shared by all wires: turns frames into requests to a gateway, and back.
//!
//! The accept loop of `gimlet-listen` accepts sockets; a wire (`gimlet-transport-tcp`,
//! `gimlet-transport-ws`) turns them into links that carry frames ([`link`]), and a
//! [`SessionServer`] serves those ([`serve`]):
//!
//! ```text
//! frame ─ codec ─ packet ─ convert ─ request ─ session ─ gateway      (in)
//! frame ─ codec ─────────────────────────────── session ─ hub          (out)
//! ```
//!
//! Frames are protobuf (`dispatch`, `encode`, `page`) or JSON (`json`), as the client chooses; `codec`
//! is the only module that knows both.
//!
//! It knows gim's packets and core's gateway; it does not know sockets or stores.

mod body;
mod close;
mod codec;
pub mod convert;
mod dispatch;
mod encode;
mod json;
pub mod link;
mod page;
mod protobuf;
mod push_codec;
pub mod serve;
mod session;
mod settings;
mod stats;
#[cfg(test)]
mod tests;

pub use link::{
    ConnectedLink, FrameCodec, FrameLink, LinkError, OpenedLink, SignInSource, UrlSignIn,
    WireFraming, WireKind,
};
pub use push_codec::WirePushCodec;
pub use serve::{ServeLink, SessionProtocol};
pub use session::SessionServer;
pub use settings::SessionSettings;
pub use stats::SessionStats;

/// Returns the `AsyncAPI` 3 document of JSON over WebSocket.
#[must_use]
pub fn asyncapi() -> serde_json::Value {
    json::document()
}
