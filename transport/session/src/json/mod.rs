//! Packets as JSON texts: the same packets as protobuf's, with the objects of the HTTP API.
//!
//! ```text
//! {"type":"send","request_id":5,"to_user":"2","content":{"type":"text","text":"hi"}}
//! {"type":"send","request_id":5,"message_id":"0192…","seq":"13","repeated":false}
//! {"type":"message","seq":"14","message":{…}}
//! ```
//!
//! `request` reads what clients send and `answer` writes what they get, both by the declarations of
//! `packets`, from which `description` makes the `AsyncAPI` document.

mod answer;
mod description;
mod packets;
mod request;
#[cfg(test)]
mod tests;

pub(crate) use answer::{
    closed, heartbeat, push, refusal, room_push, sent, signed_in, subscribed, synced,
};
pub(crate) use description::document;
pub(crate) use request::read;
