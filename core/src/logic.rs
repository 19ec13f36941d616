//! The seam between the connect role and the logic role: the requests of a connection for its user.
//!
//! Within one process it is a direct call of `crate::service`; between nodes it is a gRPC client.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::envelope::Envelope;
use crate::error::RequestRefusal;
use crate::id::{DeviceId, Epoch, Generation, UserId};
use crate::message::{MessageDraft, MessageSender};
use crate::page::PageLimit;
use crate::send_future::SendFuture;
use crate::seq::Seq;
use crate::store::{AckMark, Head};

/// A page of an inbox with the current profiles of its senders.
#[derive(Clone, Debug)]
pub struct InboxPage {
    /// The entries, ascending and without gaps.
    pub items: Vec<(Seq, Arc<Envelope>)>,
    /// True if the inbox continues after the last item.
    pub more: bool,
    /// Head and floor of the inbox when the page was read.
    pub head: Head,
}

impl InboxPage {
    /// Returns the seq up to which the page covers the inbox, if it begins after `from`.
    #[must_use]
    pub fn upto(&self, from: Seq) -> Seq {
        self.items.last().map_or(from, |(seq, _)| *seq)
    }
}

/// Result of a successful sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignInGrant {
    /// The device's new generation.
    pub generation: Generation,
    /// Remaining validity of the token, if the business backend returns it.
    pub token_left: Option<Duration>,
}

/// Requests of connections to the logic role.
#[async_trait]
pub trait LogicRole: Debug + Send + Sync + 'static {
    /// Checks the token and raises the device's generation, which ends the device's older connection.
    /// A client that continues after an entry that the inbox does not have is refused before that;
    /// with `resume_after` 0 nothing is read.
    async fn sign_in(
        &self,
        user: UserId,
        device: DeviceId,
        token: &str,
        resume_after: Seq,
    ) -> Result<SignInGrant, RequestRefusal>;

    /// Returns the epoch of the inboxes' history.
    async fn epoch(&self) -> Result<Epoch, RequestRefusal>;

    /// Reports that this user's inbox was served up to `seen` under the epoch `known` and is
    /// shorter now. Reads the head again, and ends that history if the report is right (law 10).
    /// Returns the current epoch.
    async fn went_back(
        &self,
        user: UserId,
        seen: Seq,
        known: Epoch,
    ) -> Result<Epoch, RequestRefusal>;

    /// Returns the heads of these inboxes, in the order of `users`.
    async fn heads(&self, users: &[UserId]) -> Result<Vec<Head>, RequestRefusal>;

    /// Returns the entries of the user's inbox above `after`.
    async fn page(
        &self,
        user: UserId,
        after: Seq,
        limit: PageLimit,
    ) -> Result<InboxPage, RequestRefusal>;

    /// Returns the highest acked seq of each of the user's devices.
    async fn acked(&self, user: UserId) -> Result<Vec<(DeviceId, Seq)>, RequestRefusal>;

    /// Stores acks.
    async fn ack(&self, acks: &[AckMark]) -> Result<(), RequestRefusal>;

    /// Starts a send. Sends of one user are stored in the order of these calls.
    fn send(&self, sender: MessageSender, draft: MessageDraft) -> SendFuture;
}
