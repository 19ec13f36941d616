//! Inboxes: the truth of gimlet.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::id::{GroupId, MessageId, UserId};
use crate::limits::PART;
use crate::message::{Entry, Message, Receiver};
use crate::page::PageLimit;
use crate::seq::Seq;
use crate::store::{Head, Kind, StoreError};

/// The version of a group's roster; it grows with every change of who is a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RosterVersion(pub u64);

/// What identifies a send, so that a repeat is answered like the first (law 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Sender type, sender and the client's id, packed by `service::send`; at most 96 bytes.
    pub id: Vec<u8>,
    /// A digest of what was sent; the same key with another digest is a conflict.
    pub digest: [u8; 16],
    /// How long a repeat is recognised, from the first.
    pub window: Duration,
}

/// One send of a batch.
#[derive(Clone, Debug)]
pub struct Append {
    /// The message.
    pub message: Arc<Message>,
    /// Whose inboxes get an entry, without repeats. The first one's seq is the answer.
    pub recipients: Arc<[UserId]>,
    /// Identifies the send; `None` for what cannot be repeated.
    pub key: Option<Key>,
    /// The group and the version of its roster that the recipients were planned with.
    pub roster: Option<(GroupId, RosterVersion)>,
}

impl Append {
    /// The group in whose order it stands: the roster's, or else the receiver. A send to more than
    /// [`PART`] recipients must have one.
    #[must_use]
    pub fn group(&self) -> Option<GroupId> {
        match (self.roster, self.message.receiver) {
            (Some((group, _)), _) | (None, Receiver::Group(group)) => Some(group),
            (None, _) => None,
        }
    }

    /// Refuses a batch in which a send has no recipient, or more than
    /// [`PART`] without a group: bugs of the caller that every backend names
    /// before it stores anything.
    pub fn check(op: &'static str, batch: &[Self]) -> Result<(), StoreError> {
        for send in batch {
            if send.recipients.is_empty() {
                return Err(StoreError::with(
                    op,
                    Kind::Misuse,
                    "a send has no recipient",
                ));
            }
            if send.recipients.len() > PART && send.group().is_none() {
                let text = "a send to so many recipients needs a group to be ordered in";
                return Err(StoreError::with(op, Kind::Misuse, text));
            }
        }
        Ok(())
    }
}

/// A page of an inbox, and where the inbox stood when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InboxSlice {
    /// The entries, ascending, without a hole.
    pub items: Vec<Entry>,
    /// Whether the inbox goes on behind the last item.
    pub more: bool,
    /// Not below the last item: without more to come, it is the last item if there is one.
    pub head: Head,
}

/// What became of one send of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Stored now.
    Stored {
        /// The entries made so far, in the order of the recipients: all of them, or the first
        /// recipient's alone if `job` is set.
        seqs: Vec<(UserId, Seq)>,
        /// The rest follows by a fan-out job of the group: claim it.
        job: bool,
    },
    /// The key was known with the same digest: nothing was stored.
    Repeated {
        /// The first message's id.
        message: MessageId,
        /// The first answer.
        seq: Seq,
    },
    /// The key was known with another digest: nothing was stored.
    Conflict,
    /// The group's roster has another version by now: nothing was stored; plan again.
    Stale,
}

/// The right to work on the oldest fan-out job of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobLease {
    /// The group.
    pub group: GroupId,
    /// The job's number within the group.
    pub job: u64,
    /// Raised by each claim: an older holder's `advance_job` changes nothing.
    pub generation: u64,
}

/// What one step of a fan-out job did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobPart {
    /// These entries were made, durably, together with the job's progress.
    Entries {
        /// The message of the job.
        message: Arc<Message>,
        /// The new entries.
        seqs: Vec<(UserId, Seq)>,
        /// Whether the job is finished. The group's next job needs a claim of its own.
        done: bool,
    },
    /// Another holder has claimed the job, or it is finished: stop.
    Lost,
}

/// The inboxes.
///
/// `append` is the heart of gimlet: seqs are allocated and entries stored in one atomic, durable
/// step, for a whole batch of sends.
#[async_trait]
pub trait InboxStore: Debug + Send + Sync + 'static {
    /// Appends a batch and returns one outcome per send, in order.
    ///
    /// What it leaves true: every `Stored` send has its entries in all recipients' inboxes (law 5),
    /// durably (law 1), with seqs that follow each inbox's head without a hole (law 3); the sends of
    /// a batch that share a recipient are stored in the batch's order. Readers see an entry only when
    /// it is durable, and never an entry below one they were given (law 2). A repeat within the key's
    /// window, also within the batch, gets the first result (law 4). A send whose roster version is
    /// not the group's is `Stale`, and so is one whose group does not exist; the check is part of the
    /// same step (law 11).
    ///
    /// A send with more than [`PART`] recipients, or to a group that has an open job, is
    /// stored as a fan-out job: its key, its body, the recipients and the first recipient's entry
    /// now, the rest by [`advance_job`](Self::advance_job).
    ///
    /// # Errors
    /// On `Unavailable`, `Full` and `Contended` nothing of the batch was stored; on `Unknown` all or
    /// nothing was.
    async fn append(&self, batch: &[Append]) -> Result<Vec<Appended>, StoreError>;

    /// As [`append`](Self::append), but does not wait for what another node or session has locked.
    ///
    /// # Errors
    /// Those of `append`; `Contended` at once if a lock stands before a send of the batch.
    async fn append_now(&self, batch: &[Append]) -> Result<Vec<Appended>, StoreError> {
        self.append(batch).await
    }

    /// How many appends with disjoint recipients and groups this store commits side by side, and so how
    /// many batches a node has in flight. One for a store with a single writer: it would queue the others.
    fn append_concurrency(&self) -> usize {
        1
    }

    /// The entries of an inbox above `seq`, ascending, without a hole, and where the inbox stands.
    /// Below the floor it starts behind the floor. A seq at or above the head gives no entries.
    async fn after(
        &self,
        user: UserId,
        seq: Seq,
        limit: PageLimit,
    ) -> Result<InboxSlice, StoreError>;

    /// Removes the entries up to and including `upto` (at most the head) and raises the floor; a
    /// lower `upto` than the floor changes nothing. Works in slices that do not block senders.
    async fn trim(&self, user: UserId, upto: Seq) -> Result<(), StoreError>;

    /// Claims the oldest open job of this group, or of any group; `None` if there is none.
    ///
    /// A claim takes the job from its former holder.
    async fn claim_job(&self, group: Option<GroupId>) -> Result<Option<JobLease>, StoreError>;

    /// Makes the next part of a job's entries, at most [`PART`] of them, and notes the
    /// progress, in one atomic, durable step.
    async fn advance_job(&self, lease: &JobLease) -> Result<JobPart, StoreError>;

    /// Forgets keys whose window has passed and bodies no entry needs, at most `max` of them;
    /// returns how many. Called from time to time.
    async fn sweep(&self, max: usize) -> Result<usize, StoreError>;
}
