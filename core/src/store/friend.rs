//! Friends of the built-in business service.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::events::NewEvent;
use crate::id::UserId;
use crate::page::ListPage;
use crate::store::{AppendOutcome, AppendRequest, StoreError};
use crate::time::UnixTimestamp;

/// A friend as one user sees the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Friend {
    /// The friend.
    pub user: UserId,
    /// The user's name for the friend.
    pub remarks: String,
    /// Application data of the client.
    pub extra: String,
}

/// Outcome of a friend request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FriendRequestOutcome {
    /// The request is stored together with its pushes.
    Sent(Vec<AppendOutcome>),
    /// An earlier request is still open: nothing changed, nothing was pushed.
    Pending,
    /// The two are already friends.
    Friends,
}

/// Outcome of accepting a friend request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FriendAcceptOutcome {
    /// The two are friends now, and the pushes are stored.
    Now(Vec<AppendOutcome>),
    /// The two were friends before: nothing changed, nothing was pushed.
    Before,
    /// There is no request to accept.
    NoRequest,
}

/// Store of friends; the same engine as the inboxes, so that a change and its pushes are one step.
///
/// The pushes of a method follow the rules of
/// [`InboxStore::append`](crate::store::InboxStore::append) and carry no roster. The events of a
/// method are stored in the same step if the change is made, and only then.
#[async_trait]
pub trait FriendStore: Debug + Send + Sync + 'static {
    /// Stores the request of `user` to `friend`, with the user's remarks, and the pushes,
    /// atomically.
    async fn request(
        &self,
        user: UserId,
        friend: UserId,
        remarks: &str,
        pushes: &[AppendRequest],
        events: &[NewEvent],
        at: UnixTimestamp,
    ) -> Result<FriendRequestOutcome, StoreError>;

    /// Accepts the request of `requester` on behalf of `user`: both become friends of each other,
    /// even if `user` had sent a request as well (gim-defects X-1). Data that `user` stored with
    /// its own request stays, except for remarks given now. The pushes are stored with it,
    /// atomically.
    async fn agree(
        &self,
        user: UserId,
        requester: UserId,
        remarks: &str,
        pushes: &[AppendRequest],
        events: &[NewEvent],
        at: UnixTimestamp,
    ) -> Result<FriendAcceptOutcome, StoreError>;

    /// Sets the data that `user` stores for a friend, or for a user it has sent a request to.
    /// Returns the data now stored; `None` if that user is neither.
    async fn set(
        &self,
        user: UserId,
        friend: UserId,
        remarks: Option<&str>,
        extra: Option<&str>,
        at: UnixTimestamp,
    ) -> Result<Option<Friend>, StoreError>;

    /// Returns whether the two are friends.
    async fn are_friends(&self, user: UserId, friend: UserId) -> Result<bool, StoreError>;

    /// Returns up to `limit` friends with an id above `after`, ascending, without open requests.
    async fn friends(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<ListPage<Friend>, StoreError>;
}
