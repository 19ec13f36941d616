//! Messages on their way to connections: one item for one connection, and the batches that the logic
//! role hands to a connect role.

use std::sync::Arc;

use crate::envelope::Envelope;
use crate::id::UserId;
use crate::message::Message;
use crate::room_batch::RoomBatch;
use crate::seq::Seq;

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
