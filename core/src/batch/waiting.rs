//! A send that waits for its batch, and how much of a batch it takes.

use std::sync::Arc;

use crate::envelope::Envelope;
use crate::id::{GroupId, UserId};
use crate::limits::{Limits, PART};
use crate::message::Receiver;
use crate::service::backlog::JobShare;
use crate::store::Append;

use super::ticket::Ticket;

/// A send that waits for its batch.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) append: Append,
    pub(super) caller: Caller,
}

/// The part of a send that the store does not need.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) envelope: Arc<Envelope>,
    pub(super) ticket: Ticket,
    /// Its share of the bytes that may wait, given back when it is answered or dropped.
    pub(super) bytes: usize,
    /// How often it was planned again because the roster had changed.
    pub(super) plans: u8,
    /// Its room in the backlog of group jobs, if it may become one.
    pub(super) job_share: Option<JobShare>,
}

/// The sends that keep their order among themselves and share one place in the queue: those of one
/// user, and those of the backend to one receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum FlowKey {
    Sender(UserId),
    Receiver(Receiver),
}

impl FlowKey {
    pub(super) fn of(send: &Append) -> Self {
        match send.message.sender.user() {
            Some(user) => Self::Sender(user),
            None => Self::Receiver(send.message.receiver),
        }
    }
}

impl Waiting {
    pub(super) fn new(
        append: Append,
        envelope: Arc<Envelope>,
        job_share: Option<JobShare>,
        ticket: Ticket,
    ) -> Self {
        let message = &append.message;
        // As if no other send shared its list of recipients: a bound may be too careful.
        let users = message.mentions.len() + append.recipients.len();
        let bytes =
            message.content.len() + message.unknown.as_bytes().len() + users * size_of::<UserId>();
        // Whole KiB, so that many small sends count as well.
        let bytes = bytes.div_ceil(1 << 10).max(1) << 10;
        Self {
            append,
            caller: Caller {
                envelope,
                ticket,
                bytes,
                plans: 0,
                job_share,
            },
        }
    }

    pub(super) fn flow(&self) -> FlowKey {
        FlowKey::of(&self.append)
    }

    pub(super) fn group(&self) -> Option<GroupId> {
        self.append.group()
    }

    fn entries(&self) -> usize {
        self.append.recipients.len().min(PART)
    }

    /// Bodies stand in the rows of up to two recipients, and once otherwise.
    fn content_bytes(&self) -> usize {
        self.append.message.content.len() * self.append.recipients.len().clamp(1, 2)
    }

    /// Its price in the fair order: entries, and KiB of content.
    pub(super) fn cost(&self) -> u64 {
        (self.entries() + (self.content_bytes() >> 10)) as u64
    }
}

/// How much one batch may hold, or how much of it is taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BatchSize {
    pub(super) sends: usize,
    entries: usize,
    bytes: usize,
}

impl BatchSize {
    pub(super) const fn most(limits: &Limits) -> Self {
        Self {
            sends: limits.batch_sends,
            entries: limits.batch_entries,
            bytes: limits.batch_bytes,
        }
    }

    /// Whether the send fits beside what is taken; one larger than a batch is one by itself.
    pub(super) fn fits(&self, taken: &Self, send: &Waiting) -> bool {
        taken.sends == 0
            || (taken.sends < self.sends
                && taken.entries + send.entries() <= self.entries
                && taken.bytes + send.content_bytes() <= self.bytes)
    }

    pub(super) fn add(&mut self, send: &Waiting) {
        self.sends += 1;
        self.entries += send.entries();
        self.bytes += send.content_bytes();
    }
}
