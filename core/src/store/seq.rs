//! Where inboxes stand, which history they belong to, and blocks of new ids.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::id::{Epoch, UserId};
use crate::seq::Seq;
use crate::store::StoreError;

/// Where an inbox stands. Nothing above `head` is ever read; nothing at or below `floor` is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The last durable entry; [`Seq::ZERO`] for an empty inbox.
    pub head: Seq,
    /// Retention has removed the entries up to and including this one.
    pub floor: Seq,
}

/// What an id block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Users of the built-in business service.
    User,
    /// Devices, before their ids were random; the counter is still in stores.
    Device,
    /// Groups.
    Group,
}

/// Heads, the epoch and id blocks.
#[async_trait]
pub trait SeqStore: Debug + Send + Sync + 'static {
    /// The epoch of this store's history (law 10). It stays the same across restarts of a durable
    /// store and changes when history is lost or rolled back.
    async fn epoch(&self) -> Result<Epoch, StoreError>;

    /// Ends the history that is called `old`: draws a new epoch and stores it durably, in one step
    /// with the comparison. Returns the epoch that is in force afterwards. If the store's epoch is
    /// not `old`, somebody else has ended that history: nothing changes, and the present epoch is
    /// returned. So nodes that notice the same loss at once draw one epoch between them.
    ///
    /// Inboxes, heads and everything else stay as they are; only their history gets another name,
    /// and clients of the extension start over.
    async fn new_epoch(&self, old: Epoch) -> Result<Epoch, StoreError>;

    /// The heads of these users' inboxes, in the order asked; an unknown user's is zero.
    ///
    /// A head is durable before it is returned, and never goes back within an epoch (laws 1 and 2).
    async fn heads(&self, users: &[UserId]) -> Result<Vec<Head>, StoreError>;

    /// Reserves `n` (1 … 1,000) numbers and returns the first; the rest follow it.
    ///
    /// Strictly increasing from 1 for all callers, nodes and restarts; numbers may be skipped.
    async fn reserve(&self, scope: Scope, n: u64) -> Result<u64, StoreError>;
}
