//! Messages as connections get them: ready to be shown, and shared by all recipients.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::id::UserId;
use crate::message::{Message, UserProfile};
use crate::room_batch::RoomBatch;
use crate::seq::Seq;

/// Fixed cost of an entry in bytes, beside its content, in every bounded queue.
const ENTRY_OVERHEAD_BYTES: usize = 128;

/// A message with its sender's profile, and a slot for its encoded form: a message that goes to a
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
        } = self;
        (message, profile, *request_id)
    }

    /// Returns the encoded form, which the wire makes on first use.
    pub fn encoded(&self, encode: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        self.encoded.get_or_init(|| encode(self))
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

/// One item to be written to one connection.
#[derive(Clone, Debug)]
pub enum ConnectionDelivery {
    /// An inbox entry; these go out in seq order.
    Entry {
        /// The entry's seq in the connection's inbox.
        seq: Seq,
        /// The message.
        envelope: Arc<Envelope>,
    },
    /// A message outside the inbox: a room's message with its seq in the room, or a non-persistent
    /// message or a broadcast with seq 0.
    Live {
        /// The seq on the wire.
        seq: Seq,
        /// The message.
        envelope: Arc<Envelope>,
    },
    /// Messages of a room that are written together, the same to all members.
    Room(Arc<RoomBatch>),
}

impl ConnectionDelivery {
    /// Returns the cost in bytes in a bounded queue.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Entry { envelope, .. } | Self::Live { envelope, .. } => envelope.weight(),
            Self::Room(batch) => batch.weight(),
        }
    }

    /// Returns the seqs on the wire, ascending.
    pub fn seqs(&self) -> impl Iterator<Item = Seq> + '_ {
        let (one, many) = match self {
            Self::Entry { seq, .. } | Self::Live { seq, .. } => (Some(*seq), [].as_slice()),
            Self::Room(batch) => (None, batch.items()),
        };
        one.into_iter().chain(many.iter().map(|item| item.seq))
    }
}

/// A delivery batch: one message and its recipients, which the logic role hands to a connect role.
#[derive(Clone, Debug)]
pub enum DeliveryBatch {
    /// New inbox entries.
    Entries {
        /// The message.
        envelope: Arc<Envelope>,
        /// Each recipient with the entry's seq in that inbox.
        to: Vec<(UserId, Seq)>,
    },
    /// A non-persistent message to the current connections of these users, except the sending
    /// device.
    Live {
        /// The message.
        envelope: Arc<Envelope>,
        /// The recipients.
        to: Vec<UserId>,
    },
    /// A broadcast to every signed-in connection.
    Everyone {
        /// The message.
        envelope: Arc<Envelope>,
    },
}

impl DeliveryBatch {
    /// Returns the message.
    #[must_use]
    pub fn message(&self) -> &Message {
        let (Self::Entries { envelope, .. }
        | Self::Live { envelope, .. }
        | Self::Everyone { envelope }) = self;
        &envelope.message
    }
}
