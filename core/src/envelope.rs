//! What is handed to connections: a message ready to be shown, shared by all who get it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::id::UserId;
use crate::message::{Message, Profile};
use crate::room_batch::RoomBatch;
use crate::seq::Seq;

/// Bytes an entry is counted as beside its content, in every bounded queue.
const OVERHEAD: usize = 128;

/// A message with its sender's profile, and one slot for its encoded form, so that a message that
/// goes to a thousand connections is encoded once.
#[derive(Debug)]
pub struct Envelope {
    /// The message.
    pub message: Arc<Message>,
    /// What the sender shows of itself.
    pub profile: Arc<Profile>,
    /// gim's `request_id` metadata, pushed along to the other members of a group; else 0.
    pub request_id: i64,
    encoded: OnceLock<Bytes>,
}

impl Envelope {
    /// Wraps a message.
    #[must_use]
    pub const fn new(message: Arc<Message>, profile: Arc<Profile>, request_id: i64) -> Self {
        Self {
            message,
            profile,
            request_id,
            encoded: OnceLock::new(),
        }
    }

    /// Returns all that is written of it: the message, the sender's profile and the request id. A field
    /// that is added here changes the type, so that no writer can forget it.
    #[must_use]
    pub fn parts(&self) -> (&Message, &Profile, i64) {
        let Self {
            message,
            profile,
            request_id,
            encoded: _,
        } = self;
        (message, profile, *request_id)
    }

    /// The encoded form, made by the wire on first use.
    pub fn encoded(&self, encode: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        self.encoded.get_or_init(|| encode(self))
    }

    /// What it counts in a bounded queue, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        OVERHEAD
            + self.message.content.len()
            + self.message.mentions.len() * size_of::<UserId>()
            + self.message.unknown.as_bytes().len()
            + self.profile.nickname.len()
            + self.profile.avatar_url.len()
            + self.profile.extra.len()
    }
}

/// One thing to be written to one connection.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// An inbox entry; these go out in seq order.
    Entry {
        /// Its place in the connection's inbox.
        seq: Seq,
        /// The message.
        envelope: Arc<Envelope>,
    },
    /// Outside the inbox: a room's message with its seq in the room, or a non-persistent message or
    /// broadcast with seq 0.
    Live {
        /// The seq the wire shows.
        seq: Seq,
        /// The message.
        envelope: Arc<Envelope>,
    },
    /// Messages of a room that go out together, the same to all members.
    Room(Arc<RoomBatch>),
}

impl Delivery {
    /// What it counts in a bounded queue, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Entry { envelope, .. } | Self::Live { envelope, .. } => envelope.weight(),
            Self::Room(batch) => batch.weight(),
        }
    }

    /// The seqs the wire shows, ascending.
    pub fn seqs(&self) -> impl Iterator<Item = Seq> + '_ {
        let (one, many) = match self {
            Self::Entry { seq, .. } | Self::Live { seq, .. } => (Some(*seq), [].as_slice()),
            Self::Room(batch) => (None, batch.items()),
        };
        one.into_iter().chain(many.iter().map(|item| item.seq))
    }
}

/// A message and who gets it on one node: what the logic role hands to a connect role.
#[derive(Clone, Debug)]
pub enum Parcel {
    /// New inbox entries.
    Entries {
        /// The message.
        envelope: Arc<Envelope>,
        /// Each user and the entry's place in its inbox.
        to: Vec<(UserId, Seq)>,
    },
    /// A non-persistent message: to whoever is connected now, except the sending device.
    Live {
        /// The message.
        envelope: Arc<Envelope>,
        /// The users.
        to: Vec<UserId>,
    },
    /// A broadcast to every signed-in connection.
    Everyone {
        /// The message.
        envelope: Arc<Envelope>,
    },
}
