//! Inboxes: the truth about every message sent to a user or a group.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::events::{EventHooks, HookEvent, HookTarget};
use crate::id::{GroupId, MessageId, UserId};
use crate::limits::FANOUT_CHUNK;
use crate::message::{InboxEntry, Message, MessageReceiver};
use crate::page::PageLimit;
use crate::seq::Seq;
use crate::store::{Head, StoreError, StoreErrorKind};
use crate::time::UnixTimestamp;

/// Version of a group's roster; every change of the group raises it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RosterVersion(pub u64);

/// Idempotency key of a send: a repeat is answered like the first (law 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Sender type, sender and the client's id, packed by `service::send`; at most 96 bytes.
    pub id: Vec<u8>,
    /// Digest of the content; the same key with another digest is a conflict.
    pub digest: [u8; 16],
    /// Time from the first send during which a repeat is recognized.
    pub window: Duration,
}

/// One send of a batch.
#[derive(Clone, Debug)]
pub struct AppendRequest {
    /// The message.
    pub message: Arc<Message>,
    /// Users whose inboxes get an entry, without repeats. The seq of the first one is the answer.
    pub recipients: Arc<[UserId]>,
    /// Idempotency key; `None` for a send that cannot be repeated.
    pub key: Option<IdempotencyKey>,
    /// The group, and the version of its roster that the recipients were planned with.
    pub roster: Option<(GroupId, RosterVersion)>,
    /// Hooks for which the event of the message is stored in the same step, if the send is
    /// [`Stored`](AppendOutcome::Stored).
    pub hooks: EventHooks,
}

impl AppendRequest {
    /// Returns the group in whose order the send is stored: that of the roster, or else the
    /// receiver. A send to more than [`FANOUT_CHUNK`] recipients must have one.
    #[must_use]
    pub fn group(&self) -> Option<GroupId> {
        match (self.roster, self.message.receiver) {
            (Some((group, _)), _) | (None, MessageReceiver::Group(group)) => Some(group),
            (None, _) => None,
        }
    }

    /// Returns the event of this send for a hook, as stores write it when the send is stored.
    #[must_use]
    pub fn event(&self, target: &HookTarget, at: UnixTimestamp) -> HookEvent {
        let recipients = if target.recipients {
            Arc::clone(&self.recipients)
        } else {
            Arc::default()
        };
        HookEvent::of_message(Arc::clone(&self.message), recipients, at)
    }

    /// Refuses a batch in which a send has no recipient, or more than [`FANOUT_CHUNK`] without a
    /// group. These are bugs of the caller, which every backend reports before it stores anything.
    pub fn check(op: &'static str, batch: &[Self]) -> Result<(), StoreError> {
        for send in batch {
            if send.recipients.is_empty() {
                return Err(StoreError::with(
                    op,
                    StoreErrorKind::Misuse,
                    "a send has no recipient",
                ));
            }
            if send.recipients.len() > FANOUT_CHUNK && send.group().is_none() {
                let text = "a send to more than one fan-out chunk of recipients needs a group";
                return Err(StoreError::with(op, StoreErrorKind::Misuse, text));
            }
        }
        Ok(())
    }
}

/// A page of an inbox, and the head and floor at the time of the read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InboxSlice {
    /// The entries, ascending, without a gap.
    pub items: Vec<InboxEntry>,
    /// Set if the inbox has entries after the last item.
    pub more: bool,
    /// Never below the last item. If `more` is not set, it equals the last item if there is one.
    pub head: Head,
}

/// Outcome of one send of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// The send was stored by this call.
    Stored {
        /// The entries made so far, in the order of the recipients: all of them, or the first
        /// recipient's alone if `job` is set.
        seqs: Vec<(UserId, Seq)>,
        /// Set if a fan-out job of the group makes the remaining entries: claim it.
        job: bool,
    },
    /// The key is known with the same digest: nothing was stored.
    Repeated {
        /// Id of the first message.
        message: MessageId,
        /// Seq of the first answer.
        seq: Seq,
    },
    /// The key is known with another digest: nothing was stored.
    Conflict,
    /// The group's roster has another version: nothing was stored; plan again.
    Stale,
}

/// Lease on the oldest fan-out job of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobLease {
    /// The group.
    pub group: GroupId,
    /// Number of the job; with the group it names the job.
    pub job: u64,
    /// Raised by each claim, so that `advance_job` of an earlier holder changes nothing.
    pub generation: u64,
}

/// Outcome of one step of a fan-out job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobStepOutcome {
    /// The entries were made durably, together with the job's progress.
    Entries {
        /// The message of the job.
        message: Arc<Message>,
        /// The new entries.
        seqs: Vec<(UserId, Seq)>,
        /// Set if the job is finished. The group's next job needs a new claim.
        done: bool,
    },
    /// Another holder has claimed the job, or it is finished: stop.
    Lost,
}

/// Store of inboxes.
///
/// `append` is the heart of gimlet: it allocates seqs and stores entries in one atomic, durable
/// step, for a whole batch of sends.
#[async_trait]
pub trait InboxStore: Debug + Send + Sync + 'static {
    /// Appends a batch and returns one outcome per send, in order.
    ///
    /// It guarantees:
    /// - Every `Stored` send has its entries in all recipients' inboxes (law 5), durably (law 1),
    ///   with seqs that follow each inbox's head without a gap (law 3).
    /// - The sends of a batch that share a recipient are stored in the order of the batch.
    /// - Readers see an entry only when it is durable, and never one below an entry they were given
    ///   (law 2).
    /// - A repeat within the key's window, also within the batch, gets the first result (law 4).
    /// - A send whose roster version is not the group's is `Stale`, and so is one whose group does
    ///   not exist. The check is part of the same step (law 11).
    /// - The event of a `Stored` send is in the outbox of each of its hooks, in the order of the
    ///   recipients' entries; any other outcome stores no event.
    ///
    /// A send with more than [`FANOUT_CHUNK`] recipients, or to a group that has an open job, is
    /// stored as a fan-out job: its key, its body, the recipients and the first recipient's entry
    /// now, the rest by [`advance_job`](Self::advance_job).
    ///
    /// # Errors
    /// On `Unavailable`, `Full` and `Contended` nothing of the batch was stored; on `Unknown` all
    /// of it or nothing was.
    async fn append(&self, batch: &[AppendRequest]) -> Result<Vec<AppendOutcome>, StoreError>;

    /// Appends like [`append`](Self::append), but does not wait for locks of another node or
    /// session.
    ///
    /// # Errors
    /// Those of `append`; `Contended` at once if a send of the batch meets a lock.
    async fn append_now(&self, batch: &[AppendRequest]) -> Result<Vec<AppendOutcome>, StoreError> {
        self.append(batch).await
    }

    /// Returns the number of appends with disjoint recipients and groups that this store commits in
    /// parallel. A node keeps as many batches in flight. It is 1 for a store with a single writer,
    /// which would queue the others.
    fn append_concurrency(&self) -> usize {
        1
    }

    /// Returns the entries of an inbox above `seq`, ascending, without a gap, with the head and
    /// floor. A `seq` below the floor starts at the floor; one at or above the head returns no
    /// entries.
    async fn after(
        &self,
        user: UserId,
        seq: Seq,
        limit: PageLimit,
    ) -> Result<InboxSlice, StoreError>;

    /// Begins inboxes without entries at a seq, durably and in one step: head and floor become that
    /// seq, as if the entries up to it had been stored and trimmed. For an import from a system
    /// that has assigned these seqs. A store without imports keeps the default.
    ///
    /// # Errors
    /// `Misuse` if one of the inboxes has entries or a head above its seq; then nothing changed.
    async fn begin(&self, inboxes: &[(UserId, Seq)]) -> Result<(), StoreError> {
        let text = format!("this store cannot begin {} inboxes", inboxes.len());
        Err(StoreError::with(
            "inbox.begin",
            StoreErrorKind::Misuse,
            text,
        ))
    }

    /// Removes the entries up to and including `upto` (at most the head) and raises the floor. An
    /// `upto` below the floor changes nothing. Works in slices that do not block senders.
    async fn trim(&self, user: UserId, upto: Seq) -> Result<(), StoreError>;

    /// Claims the oldest open job of this group, or of any group; `None` if there is none.
    ///
    /// A claim takes the job away from its previous holder.
    async fn claim_job(&self, group: Option<GroupId>) -> Result<Option<JobLease>, StoreError>;

    /// Makes the next entries of a job, at most [`FANOUT_CHUNK`] of them, and records the progress,
    /// in one atomic, durable step.
    async fn advance_job(&self, lease: &JobLease) -> Result<JobStepOutcome, StoreError>;

    /// Removes up to `max` keys whose window has passed and bodies that no entry needs; returns how
    /// many. Called from time to time.
    async fn sweep(&self, max: usize) -> Result<usize, StoreError>;
}
