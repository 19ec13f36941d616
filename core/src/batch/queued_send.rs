//! A send that waits for its batch, and its size as a part of one.

use std::sync::Arc;

use crate::backlog::JobShare;
use crate::envelope::Envelope;
use crate::id::{GroupId, UserId};
use crate::limits::{FANOUT_CHUNK, Limits};
use crate::message::MessageReceiver;
use crate::store::AppendRequest;

use super::completion::CompletionSender;

/// A send that waits for its batch.
#[derive(Debug)]
pub(super) struct QueuedSend {
    pub(super) append: AppendRequest,
    pub(super) caller: CallerContext,
}

/// The part of a send that the store does not need.
#[derive(Debug)]
pub(super) struct CallerContext {
    pub(super) envelope: Arc<Envelope>,
    pub(super) completion: CompletionSender,
    /// Its share of the queue's byte budget, returned when it is answered or dropped.
    pub(super) bytes: usize,
    /// Number of times that it was planned again because the roster had changed.
    pub(super) plans: u8,
    /// Its reservation in the backlog of group jobs, if it may become a job.
    pub(super) job_share: Option<JobShare>,
}

/// Key of the sends that keep their order among themselves and share one flow of the queue: those
/// of one user, or those of the business server to one receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum FlowKey {
    Sender(UserId),
    Receiver(MessageReceiver),
}

impl FlowKey {
    pub(super) fn of(send: &AppendRequest) -> Self {
        match send.message.sender.user() {
            Some(user) => Self::Sender(user),
            None => Self::Receiver(send.message.receiver),
        }
    }
}

impl QueuedSend {
    pub(super) fn new(
        append: AppendRequest,
        envelope: Arc<Envelope>,
        job_share: Option<JobShare>,
        completion: CompletionSender,
    ) -> Self {
        let message = &append.message;
        // Counted as if no other send shared its recipient list, so the bound may be stricter than
        // needed.
        let users = message.mentions.len() + append.recipients.len();
        let bytes =
            message.content.len() + message.unknown.as_bytes().len() + users * size_of::<UserId>();
        // Rounded up to whole KiB, so that many small sends count as well.
        let bytes = bytes.div_ceil(1 << 10).max(1) << 10;
        Self {
            append,
            caller: CallerContext {
                envelope,
                completion,
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
        self.append.recipients.len().min(FANOUT_CHUNK)
    }

    /// Returns the bytes of content that are stored: a copy for each of up to two recipients, and a
    /// single copy for more.
    fn content_bytes(&self) -> usize {
        self.append.message.content.len() * self.append.recipients.len().clamp(1, 2)
    }

    /// Returns the cost of the send in the fair order: its entries plus its KiB of content.
    pub(super) fn cost(&self) -> u64 {
        (self.entries() + (self.content_bytes() >> 10)) as u64
    }
}

/// Size of a batch: either the limits of one, or the part that is already taken.
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

    /// Returns whether the send fits beside those already taken. A send larger than a batch forms a
    /// batch of its own.
    pub(super) fn fits(&self, taken: &Self, send: &QueuedSend) -> bool {
        taken.sends == 0
            || (taken.sends < self.sends
                && taken.entries + send.entries() <= self.entries
                && taken.bytes + send.content_bytes() <= self.bytes)
    }

    /// Returns whether this is at most `times` batches of this size.
    pub(super) const fn is_within(&self, batch: &Self, times: usize) -> bool {
        self.sends <= batch.sends * times
            && self.entries <= batch.entries * times
            && self.bytes <= batch.bytes * times
    }

    /// Takes sends away that were added before.
    pub(super) const fn subtract(&mut self, taken: &Self) {
        self.sends -= taken.sends;
        self.entries -= taken.entries;
        self.bytes -= taken.bytes;
    }

    pub(super) fn add(&mut self, send: &QueuedSend) {
        self.sends += 1;
        self.entries += send.entries();
        self.bytes += send.content_bytes();
    }
}
