//! The outbox: the durable queue of events of each hook, with its dead letters.
//!
//! Events are written by the store method that makes their change, or by [`OutboxStore::put`]. They
//! are read from the front of the queue and removed one by one after their delivery. There is no
//! read position: an event whose transaction commits late has a position before events that were read
//! already, and must not be skipped.

use std::fmt;
use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use crate::events::{HookEvent, HookName, NewEvent};
use crate::id::NodeId;
use crate::page::{ListPage, PageLimit};
use crate::store::StoreError;
use crate::time::UnixTimestamp;

/// Time without a renewal after which another node may claim a hook. Measured by the node that
/// waits, on its own monotonic clock.
pub const HOOK_LEASE: Duration = Duration::from_secs(10);

/// Position of an event in the outbox. Later events have larger positions; numbers may be skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboxPosition(pub u64);

impl fmt::Display for OutboxPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A stored event of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its position.
    pub position: OutboxPosition,
    /// The event; `None` if its record cannot be read: it is damaged, or a newer release wrote it.
    /// Such a row becomes a dead letter, so that it neither blocks the hook nor gets lost.
    pub event: Option<HookEvent>,
}

/// State of a hook's lease. It changes with every claim and every renewal, so a mark that stays the
/// same for [`HOOK_LEASE`] means that the holder is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseMark {
    /// Number of the claim.
    pub generation: u64,
    /// Number of renewals since that claim.
    pub beat: u64,
}

/// Lease on the delivery of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookLease {
    /// The hook.
    pub hook: HookName,
    /// Number of the claim: an earlier holder can change nothing.
    pub generation: u64,
}

/// Outcome of claiming a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookClaimOutcome {
    /// The caller holds the lease.
    Claimed(HookLease),
    /// Another node holds it. Claim it with this mark if the mark is still the same after
    /// [`HOOK_LEASE`].
    Held(LeaseMark),
}

/// Outcome of a change that needs the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeasedOutcome {
    /// The change was made.
    Done,
    /// Another node has claimed the hook: nothing was changed. Stop delivering.
    Lost,
}

/// An event that is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedDelivery {
    /// Its position in the outbox.
    pub position: OutboxPosition,
    /// Reason of the last failure; stores keep at most [`MAX_ERROR_BYTES`] of it.
    pub error: String,
    /// Number of attempts that the node knows of.
    pub attempts: u32,
}

/// Longest stored reason of a failure, in bytes. Stores cut a longer one with [`cut_error`].
pub const MAX_ERROR_BYTES: usize = 500;

/// Returns the part of a reason that is stored.
#[must_use]
pub fn cut_error(error: &str) -> &str {
    let end = error.floor_char_boundary(MAX_ERROR_BYTES);
    error.get(..end).unwrap_or_default()
}

/// An event that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its former position in the outbox, which names it among the hook's dead letters.
    pub position: OutboxPosition,
    /// The event; `None` if its record cannot be read.
    pub event: Option<HookEvent>,
    /// Reason of the last failure.
    pub error: String,
    /// Number of attempts.
    pub attempts: u32,
    /// Time at which it was given up.
    pub died_at: UnixTimestamp,
}

/// Numbers of a hook's stored events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookBacklog {
    /// Events that wait.
    pub events: u64,
    /// Time of the first of them.
    pub oldest: Option<UnixTimestamp>,
    /// Dead letters.
    pub dead_letters: u64,
}

/// Bounds of a hook's stored events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxBounds {
    /// Events that wait.
    pub events: u64,
    /// Dead letters.
    pub dead_letters: u64,
}

/// Store of the hooks' events; the same engine as the inboxes, so that a change and its events are
/// one step.
///
/// Order: events of one hook with the same
/// [receiver](crate::events::EventBody::receiver) have positions in the order of their changes, and
/// [`read`](Self::read) never returns one of them without those before it.
#[async_trait]
pub trait OutboxStore: Debug + Send + Sync + 'static {
    /// Stores events that belong to no other change of a store, durably, in one step.
    async fn put(&self, events: &[NewEvent]) -> Result<(), StoreError>;

    /// Returns the first events of the hook that are not in `known`, which is ascending: the events
    /// that the caller holds already. A page ends with the event that passes `limit.bytes`; events
    /// are counted with their content.
    ///
    /// An event is durable before it is returned, and so is its change. `more` may be set although
    /// no event follows; an empty page without `more` means that the caller knows all events.
    async fn read(
        &self,
        hook: &HookName,
        known: &[OutboxPosition],
        limit: PageLimit,
    ) -> Result<ListPage<OutboxRow>, StoreError>;

    /// Claims the delivery of a hook for a node: if no node holds it, if the holder is an earlier
    /// run of the same node (or this run itself), or if the lease's mark is `expired`. Each claim
    /// raises the generation.
    async fn claim(
        &self,
        hook: &HookName,
        node: &NodeId,
        expired: Option<LeaseMark>,
    ) -> Result<HookClaimOutcome, StoreError>;

    /// Renews a lease, which changes its mark.
    async fn renew(&self, lease: &HookLease) -> Result<LeasedOutcome, StoreError>;

    /// Ends a lease, so that another node can claim the hook at once. A lost lease changes nothing.
    async fn release(&self, lease: &HookLease) -> Result<(), StoreError>;

    /// Removes delivered events. Positions that are gone are ignored.
    async fn remove(
        &self,
        lease: &HookLease,
        delivered: &[OutboxPosition],
    ) -> Result<LeasedOutcome, StoreError>;

    /// Moves events to the dead letters, in one step. Positions that are gone are ignored.
    async fn bury(
        &self,
        lease: &HookLease,
        failed: &[FailedDelivery],
        at: UnixTimestamp,
    ) -> Result<LeasedOutcome, StoreError>;

    /// Removes the oldest events and the oldest dead letters above these bounds, in slices that do
    /// not block senders; returns how many of each. None are removed if the lease is lost.
    async fn trim(&self, lease: &HookLease, keep: OutboxBounds)
    -> Result<OutboxBounds, StoreError>;

    /// Counts the hook's events and dead letters.
    async fn backlog(&self, hook: &HookName) -> Result<HookBacklog, StoreError>;

    /// Returns the hooks that have an event or a dead letter, ascending, also those that the
    /// configuration does not name any more.
    async fn hooks(&self) -> Result<Vec<HookName>, StoreError>;

    /// Returns up to `limit` dead letters of the hook with a position above `after`, ascending.
    async fn dead_letters(
        &self,
        hook: &HookName,
        after: Option<OutboxPosition>,
        limit: usize,
    ) -> Result<ListPage<DeadLetter>, StoreError>;

    /// Moves these dead letters to the end of the hook's queue, in the order of their positions, in
    /// one step. Returns how many there were.
    async fn replay(
        &self,
        hook: &HookName,
        letters: &[OutboxPosition],
    ) -> Result<usize, StoreError>;

    /// Removes these dead letters; returns how many there were.
    async fn drop_letters(
        &self,
        hook: &HookName,
        letters: &[OutboxPosition],
    ) -> Result<usize, StoreError>;

    /// Removes all events and dead letters of a hook, in slices that do not block senders; returns
    /// how many there were. For a hook that the configuration does not name any more.
    async fn clear(&self, hook: &HookName) -> Result<u64, StoreError>;
}
