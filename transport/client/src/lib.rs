//! A client of gimlet: connects over TCP or WebSocket, with TLS or without, signs in, delivers
//! every stored message once and in order, and sends with ids so that a repeat stores nothing
//! twice.
//!
//! ```no_run
//! use gimlet_client::{
//!     ApiClient, Client, ClientEvent, ClientOptions, DeviceCredentials, FileCursor, MessageContent,
//!     MessageSender, MessageTarget,
//! };
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! // Once: a device and a token, by gRPC.
//! let api = ApiClient::new("http://127.0.0.1:50100")?;
//! let device_id = api.register_device("laptop").await?;
//! let user = api.sign_in("13800000001", "000000", device_id).await?;
//!
//! // Then: one client for as long as the program runs.
//! let who = DeviceCredentials { user_id: user.user_id, device_id, token: user.token };
//! let options = ClientOptions::new("127.0.0.1:8080".parse()?, who).cursor(FileCursor::new("cursor"));
//! let (client, mut events) = Client::connect(options).await?;
//!
//! while let Some(event) = events.next().await {
//!     match event {
//!         ClientEvent::Message(message) => match (message.sender, message.content) {
//!             (MessageSender::User { nickname, .. }, MessageContent::Text(text)) => println!("{nickname}: {text}"),
//!             _ => println!("a message of another kind"),
//!         },
//!         ClientEvent::CaughtUp { .. } => {
//!             let sent = client.send(MessageTarget::User(2), MessageContent::text("hi")).await?;
//!             println!("stored as number {}", sent.seq);
//!         }
//!         ClientEvent::Disconnected { reason, .. } => println!("not connected: {reason}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Its guarantees:
//! - **Each stored message once, in order, without gaps**, over any number of connections and
//!   restarts with a [`CursorStore`]. A message comes twice only if the program dies between
//!   handling it and the save of the cursor (200 ms).
//! - **A send that was answered is stored.** It is repeated with the same id, over reconnects,
//!   until the server gives a final answer or the deadline passes.
//! - **Everything is bounded.** While the application is slow the socket is not read; messages that
//!   the server then leaves out are fetched from the inbox afterwards.
//! - Rooms, broadcasts and messages that are not stored are best effort.
//!
//! The modules, inside out: `state` (the cursor's rules) and `reconnect_decision` (the action after
//! a connection) are pure; `send`, `room`, `event_channel` and `cursor_saver` hold state that
//! outlives a connection; `link` and `handshake` make a connection, `session` runs one, `engine`
//! runs one after another; `client` is the handle. [`ApiClient`] is separate: gRPC, for devices,
//! friends and groups.

mod api;
mod backoff;
mod client;
mod connect_loop;
mod cursor_saver;
mod cursor_store;
mod engine;
mod error;
mod event;
mod event_channel;
mod handshake;
mod link;
mod options;
mod raw_status;
mod reconnect_decision;
mod room;
mod send;
mod session;
mod state;
mod tls;

pub use api::ApiClient;
pub use client::{Client, EventStream};
pub use cursor_store::{ClientCursor, CursorStore, FileCursor, MemoryCursor};
pub use error::{ApiError, ClientError};
pub use event::{
    ClientEvent, MessageContent, MessageSender, MessageTarget, ReceivedMessage, SystemPush,
};
pub use gimlet_proto::pb;
pub use options::{ClientOptions, DeviceCredentials, ServerEndpoint, SupersededPolicy};
pub use send::{MessageDraft, SendReceipt};
pub use tls::TrustedRoots;

/// For tests that call gRPC directly: not part of the stable interface.
#[doc(hidden)]
pub mod raw {
    pub use crate::raw_status::{RawStatus, api_error};
}
