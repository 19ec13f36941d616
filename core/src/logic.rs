//! The seam between the connect and the logic role: what a connection asks on its user's behalf.
//!
//! In one process it is a direct call of `crate::service`; between nodes it is a gRPC client.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::envelope::Envelope;
use crate::error::Refusal;
use crate::id::{DeviceId, Epoch, Generation, MessageId, UserId};
use crate::message::{Draft, Sender};
use crate::page::PageLimit;
use crate::sending::Sending;
use crate::seq::Seq;
use crate::store::{AckMark, Head};

/// A page of an inbox, ready to be shown: with its senders' present profiles.
#[derive(Clone, Debug)]
pub struct InboxPage {
    /// The entries, ascending, without a hole.
    pub items: Vec<(Seq, Arc<Envelope>)>,
    /// Whether the inbox goes on behind the last item.
    pub more: bool,
    /// Where the inbox stood when the page was read.
    pub head: Head,
}

impl InboxPage {
    /// The page covers the inbox from `from` up to here.
    #[must_use]
    pub fn upto(&self, from: Seq) -> Seq {
        self.items.last().map_or(from, |(seq, _)| *seq)
    }
}

/// The answer to a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The entry of the sender's own copy; of the receiver's if a backend sent it to one user;
    /// zero for what is not stored, and for a backend's send to a group.
    pub seq: Seq,
    /// The message.
    pub message: MessageId,
    /// Whether this was a repeat, and the answer is the first one's.
    pub repeated: bool,
}

/// A sign-in that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The device's new generation.
    pub generation: Generation,
    /// How long the token is good for, if the business backend says so.
    pub token_left: Option<Duration>,
}

/// What connections ask of the logic role.
#[async_trait]
pub trait Logic: Debug + Send + Sync + 'static {
    /// Checks the token and raises the device's generation.
    async fn sign_in(
        &self,
        user: UserId,
        device: DeviceId,
        token: &str,
    ) -> Result<Granted, Refusal>;

    /// The epoch of the inboxes' history.
    async fn epoch(&self) -> Result<Epoch, Refusal>;

    /// This user's inbox was served up to `seen` under the epoch `known`, and is shorter by now:
    /// looks again, and ends that history if it is so (law 10). Returns the epoch in force.
    async fn went_back(&self, user: UserId, seen: Seq, known: Epoch) -> Result<Epoch, Refusal>;

    /// The heads of these inboxes, in the order asked.
    async fn heads(&self, users: &[UserId]) -> Result<Vec<Head>, Refusal>;

    /// The entries of the user's inbox above `after`.
    async fn page(&self, user: UserId, after: Seq, limit: PageLimit) -> Result<InboxPage, Refusal>;

    /// What the devices of the user have acked.
    async fn acked(&self, user: UserId) -> Result<Vec<(DeviceId, Seq)>, Refusal>;

    /// Notes acks.
    async fn ack(&self, acks: &[AckMark]) -> Result<(), Refusal>;

    /// Sends. Sends of one user are stored in the order in which this is called for them.
    fn send(&self, sender: Sender, draft: Draft) -> Sending;
}
