//! Friends: one friendship edge in each direction, requested or agreed.

use async_trait::async_trait;

use crate::id::UserId;
use crate::memory::state::{Engine, State};
use crate::page::Page;
use crate::store::{Agreed, Append, Friend, FriendStore, Requested, StoreError};
use crate::time::Timestamp;

/// The friendship edge from one user to another, with the data that the user stores.
#[derive(Debug)]
pub(super) struct Tie {
    agreed: bool,
    remarks: String,
    extra: String,
}

impl Tie {
    fn new(agreed: bool, remarks: &str) -> Self {
        Self {
            agreed,
            remarks: remarks.to_owned(),
            extra: String::new(),
        }
    }
}

impl State {
    fn tie(&self, user: UserId, other: UserId) -> Option<&Tie> {
        self.friends.get(&user)?.get(&other)
    }

    fn tie_mut(&mut self, user: UserId, other: UserId) -> Option<&mut Tie> {
        self.friends.get_mut(&user)?.get_mut(&other)
    }

    fn set_tie(&mut self, user: UserId, other: UserId, tie: Tie) {
        self.friends.entry(user).or_default().insert(other, tie);
    }
}

#[async_trait]
impl FriendStore for Engine {
    async fn request(
        &self,
        user: UserId,
        friend: UserId,
        remarks: &str,
        pushes: &[Append],
        _at: Timestamp,
    ) -> Result<Requested, StoreError> {
        Append::check("friend.request", pushes)?;
        let now = self.clock.monotonic();
        let mut state = self.lock();
        match state.tie(user, friend) {
            Some(Tie { agreed: true, .. }) => Ok(Requested::Friends),
            Some(Tie { agreed: false, .. }) => Ok(Requested::Pending),
            None => {
                state.set_tie(user, friend, Tie::new(false, remarks));
                Ok(Requested::Asked(state.append(pushes, now)))
            }
        }
    }

    async fn agree(
        &self,
        user: UserId,
        requester: UserId,
        remarks: &str,
        pushes: &[Append],
        _at: Timestamp,
    ) -> Result<Agreed, StoreError> {
        Append::check("friend.agree", pushes)?;
        let now = self.clock.monotonic();
        let mut state = self.lock();
        let Some(asked) = state.tie_mut(requester, user) else {
            return Ok(Agreed::NoRequest);
        };
        if asked.agreed {
            return Ok(Agreed::Before);
        }
        asked.agreed = true;
        // Mutual requests become one friendship, and each user keeps the data of its own request.
        let mut tie = Tie::new(true, remarks);
        if let Some(own) = state.tie(user, requester) {
            own.extra.clone_into(&mut tie.extra);
            if remarks.is_empty() {
                own.remarks.clone_into(&mut tie.remarks);
            }
        }
        state.set_tie(user, requester, tie);
        Ok(Agreed::Now(state.append(pushes, now)))
    }

    async fn set(
        &self,
        user: UserId,
        friend: UserId,
        remarks: Option<&str>,
        extra: Option<&str>,
        _at: Timestamp,
    ) -> Result<Option<Friend>, StoreError> {
        let mut state = self.lock();
        let Some(tie) = state.tie_mut(user, friend) else {
            return Ok(None);
        };
        if let Some(remarks) = remarks {
            remarks.clone_into(&mut tie.remarks);
        }
        if let Some(extra) = extra {
            extra.clone_into(&mut tie.extra);
        }
        Ok(Some(Friend {
            user: friend,
            remarks: tie.remarks.clone(),
            extra: tie.extra.clone(),
        }))
    }

    async fn are_friends(&self, user: UserId, friend: UserId) -> Result<bool, StoreError> {
        Ok(self.lock().tie(user, friend).is_some_and(|it| it.agreed))
    }

    async fn friends(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Page<Friend>, StoreError> {
        let state = self.lock();
        let Some(ties) = state.friends.get(&user) else {
            return Ok(Page::default());
        };
        let friends = ties
            .range(super::above(after))
            .filter(|(_, tie)| tie.agreed)
            .map(|(id, tie)| Friend {
                user: *id,
                remarks: tie.remarks.clone(),
                extra: tie.extra.clone(),
            });
        Ok(super::page(friends, limit))
    }
}
