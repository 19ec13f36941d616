//! The JSON that gimlet's wires share: the HTTP API, its event streams, and JSON over WebSocket.
//!
//! An object is declared once, by [`object!`]; reading it strictly, writing it and its schema follow from
//! the declaration. Messages and their contents are declared here, so that they look the same on every
//! wire.

mod api_keys;
mod bearer;
mod content;
mod declaration;
mod message;
mod strict;
#[cfg(test)]
mod tests;
mod texts;
mod values;

pub use bearer::BearerToken;
pub use content::{Base64Bytes, JsonContent};
pub use declaration::{
    FieldDescription, JsonObject, JsonType, RequestFields, SchemaDefinitions, ValueSource,
    WrongValue, object_schema, plain,
};
pub use message::{
    EntryInfo, LiveMessageInfo, MessageInfo, ReceiverInfo, ReceiverKind, RoomMessageInfo,
    SenderInfo, SenderKind, message_id, rfc3339,
};
pub use strict::parse;
pub use texts::{entry_text, live_text, message_text, room_text, to_text};
pub use values::{MAX_SAFE_NUMBER, WholeNumber};
