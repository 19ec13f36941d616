//! Messages as connections get them: ready to be shown, and shared by all recipients.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::id::UserId;
use crate::message::{Message, UserProfile};

/// Fixed cost of an entry in bytes, beside its content, in every bounded queue.
const ENTRY_OVERHEAD_BYTES: usize = 128;

/// A message with its sender's profile, and a slot for each encoded form: a message that goes to a
/// thousand connections is encoded once.
#[derive(Debug)]
pub struct Envelope {
    /// The message.
    pub message: Arc<Message>,
    /// The sender's profile.
    pub profile: Arc<UserProfile>,
    /// gim's `request_id` metadata, passed on to the other members of a group; otherwise 0.
    pub request_id: i64,
    encoded: OnceLock<Bytes>,
    json: OnceLock<Box<str>>,
}

impl Envelope {
    /// Wraps a message.
    #[must_use]
    pub const fn new(message: Arc<Message>, profile: Arc<UserProfile>, request_id: i64) -> Self {
        Self {
            message,
            profile,
            request_id,
            encoded: OnceLock::new(),
            json: OnceLock::new(),
        }
    }

    /// Returns everything that a writer encodes: the message, the sender's profile and the request
    /// id. A new field changes this type, so no writer can forget it.
    #[must_use]
    pub fn parts(&self) -> (&Message, &UserProfile, i64) {
        let Self {
            message,
            profile,
            request_id,
            encoded: _,
            json: _,
        } = self;
        (message, profile, *request_id)
    }

    /// Returns the encoded form, which the wire makes on first use.
    pub fn encoded(&self, encode: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        self.encoded.get_or_init(|| encode(self))
    }

    /// Returns the message as JSON text, which the first wire that needs it makes.
    pub fn json_text(&self, write: impl FnOnce(&Self) -> Box<str>) -> &str {
        self.json.get_or_init(|| write(self))
    }

    /// Returns the cost in bytes in a bounded queue.
    #[must_use]
    pub fn weight(&self) -> usize {
        ENTRY_OVERHEAD_BYTES
            + self.message.content.len()
            + self.message.mentions.len() * size_of::<UserId>()
            + self.message.unknown.as_bytes().len()
            + self.profile.nickname.len()
            + self.profile.avatar_url.len()
            + self.profile.extra.len()
    }
}
