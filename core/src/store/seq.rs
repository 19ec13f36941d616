//! Heads of inboxes, the epoch of their history, and blocks of new ids.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::id::{Epoch, UserId};
use crate::seq::Seq;
use crate::store::StoreError;

/// Head and floor of an inbox. Entries above `head` are never read; entries at or below `floor` are
/// not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The last durable entry; [`Seq::ZERO`] for an empty inbox.
    pub head: Seq,
    /// The last entry that retention has removed, with all entries before it.
    pub floor: Seq,
}

/// Kind of the ids in a reserved block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdScope {
    /// Users of the built-in business service.
    User,
    /// Devices. Their ids are random now; the counter remains in existing stores.
    Device,
    /// Groups.
    Group,
}

/// Store of heads, the epoch and id blocks.
#[async_trait]
pub trait SeqStore: Debug + Send + Sync + 'static {
    /// Returns the epoch of this store's history (law 10). It stays the same across restarts of a
    /// durable store, and changes when history is lost or rolled back.
    async fn epoch(&self) -> Result<Epoch, StoreError>;

    /// Ends the history with the epoch `old`: draws a new epoch and stores it durably, in one step
    /// with the comparison. Returns the epoch in force afterwards. If the store's epoch is not
    /// `old`, another caller has ended that history already: nothing changes, and the present epoch
    /// is returned. Nodes that notice the same loss at the same time therefore draw a single epoch.
    ///
    /// Inboxes and heads stay as they are. Only their history gets another epoch, and clients of
    /// the extension start over.
    async fn new_epoch(&self, old: Epoch) -> Result<Epoch, StoreError>;

    /// Returns the heads of these users' inboxes, in the order of the request; an unknown user's
    /// head is zero.
    ///
    /// A head is durable before it is returned, and never goes back within an epoch (laws 1 and 2).
    async fn heads(&self, users: &[UserId]) -> Result<Vec<Head>, StoreError>;

    /// Reserves `n` (1 … 1,000) consecutive numbers and returns the first.
    ///
    /// The numbers strictly increase from 1 across all callers, nodes and restarts; some may be
    /// skipped.
    async fn reserve(&self, scope: IdScope, n: u64) -> Result<u64, StoreError>;

    /// Skips the numbers up to and including `upto`: `reserve` returns larger ones from now on. For
    /// an import of rows that have these ids.
    async fn skip(&self, scope: IdScope, upto: u64) -> Result<(), StoreError>;
}
