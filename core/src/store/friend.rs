//! Friends of the built-in business service.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::id::UserId;
use crate::page::Page;
use crate::store::{Append, Appended, StoreError};
use crate::time::Timestamp;

/// A friend as one user sees the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Friend {
    /// The friend.
    pub user: UserId,
    /// What the user calls it.
    pub remarks: String,
    /// The client's own data.
    pub extra: String,
}

/// What became of a friend request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requested {
    /// It is stored, and the pushes with it.
    Asked(Vec<Appended>),
    /// It was asked before and not yet answered: nothing changed, nothing was pushed.
    Pending,
    /// They are friends already.
    Friends,
}

/// What became of an agreement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreed {
    /// They are friends now, and the pushes are stored.
    Now(Vec<Appended>),
    /// They were friends before: nothing changed, nothing was pushed.
    Before,
    /// There is no request to agree to.
    NoRequest,
}

/// Friends; the same engine as the inboxes, so that a change and its pushes are one step.
///
/// The pushes of a method follow the rules of
/// [`InboxStore::append`](crate::store::InboxStore::append) and carry no roster.
#[async_trait]
pub trait FriendStore: Debug + Send + Sync + 'static {
    /// Stores that `user` asks `friend`, with its remarks for it, and the pushes, atomically.
    async fn request(
        &self,
        user: UserId,
        friend: UserId,
        remarks: &str,
        pushes: &[Append],
        at: Timestamp,
    ) -> Result<Requested, StoreError>;

    /// `user` agrees to the request of `requester`: both become friends of each other, whether or
    /// not `user` had asked as well (gim-defects X-1); what it kept of its own request stays, but for
    /// remarks that it gives now. The pushes are stored with it, atomically.
    async fn agree(
        &self,
        user: UserId,
        requester: UserId,
        remarks: &str,
        pushes: &[Append],
        at: Timestamp,
    ) -> Result<Agreed, StoreError>;

    /// Sets what `user` keeps of its friend, or of a user it has asked to be one; returns what it
    /// keeps now, or `None` if it is neither.
    async fn set(
        &self,
        user: UserId,
        friend: UserId,
        remarks: Option<&str>,
        extra: Option<&str>,
        at: Timestamp,
    ) -> Result<Option<Friend>, StoreError>;

    /// Whether the two are friends.
    async fn are_friends(&self, user: UserId, friend: UserId) -> Result<bool, StoreError>;

    /// Up to `limit` friends with an id above `after`, ascending; requests are not among them.
    async fn friends(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Page<Friend>, StoreError>;
}
