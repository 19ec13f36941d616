//! Receivers of a stream's messages.

use std::sync::Arc;

use crate::ReceiverId;

/// Receivers of the messages of one stream.
#[derive(Debug)]
pub(crate) enum StreamAudience {
    /// The same receivers get every message.
    Listeners(Vec<ReceiverId>),
    /// Every send has its own receivers, in the order of the sends.
    PerSend(Vec<PlannedSend>),
}

/// A send with receivers of its own.
#[derive(Debug, Default)]
pub(crate) struct PlannedSend {
    /// Receivers that may get it, ascending.
    pub(crate) allowed: Arc<[ReceiverId]>,
    /// Receivers that must get it: none until the send is answered.
    pub(crate) required: Arc<[ReceiverId]>,
    /// Set once the send is answered.
    pub(crate) answered: bool,
}

impl StreamAudience {
    /// Returns the receivers that get every message.
    pub(crate) fn listeners(&self) -> &[ReceiverId] {
        match self {
            Self::Listeners(listeners) => listeners,
            Self::PerSend(_) => &[],
        }
    }

    /// Returns the send with this number, if sends have receivers of their own.
    pub(crate) fn planned(&self, number: u32) -> Option<&PlannedSend> {
        match self {
            Self::Listeners(_) => None,
            Self::PerSend(sends) => sends.get(number as usize),
        }
    }

    /// Returns true if the receiver may get the message with this number, or gets every message of
    /// streams with listeners.
    pub(crate) fn allows(&self, receiver: ReceiverId, number: u32) -> bool {
        match self {
            Self::Listeners(_) => true,
            Self::PerSend(_) => self
                .planned(number)
                .is_some_and(|send| send.allowed.binary_search(&receiver).is_ok()),
        }
    }
}
