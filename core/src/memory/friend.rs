//! Friends: one friendship edge in each direction, requested or agreed.

use async_trait::async_trait;

use crate::events::NewEvent;
use crate::id::UserId;
use crate::memory::friend_edge::FriendEdge;
use crate::memory::helpers::{above, page};
use crate::memory::state::{EngineState, MemoryEngine};
use crate::page::ListPage;
use crate::store::{
    AppendRequest, Friend, FriendAcceptOutcome, FriendRequestOutcome, FriendStore, StoreError,
};
use crate::time::UnixTimestamp;

impl EngineState {
    fn edge(&self, user: UserId, other: UserId) -> Option<&FriendEdge> {
        self.friends.get(&user)?.get(&other)
    }

    fn edge_mut(&mut self, user: UserId, other: UserId) -> Option<&mut FriendEdge> {
        self.friends.get_mut(&user)?.get_mut(&other)
    }

    fn set_edge(&mut self, user: UserId, other: UserId, edge: FriendEdge) {
        self.friends.entry(user).or_default().insert(other, edge);
    }
}

#[async_trait]
impl FriendStore for MemoryEngine {
    async fn request(
        &self,
        user: UserId,
        friend: UserId,
        remarks: &str,
        pushes: &[AppendRequest],
        events: &[NewEvent],
        _at: UnixTimestamp,
    ) -> Result<FriendRequestOutcome, StoreError> {
        AppendRequest::check("friend.request", pushes)?;
        let now = self.append_time();
        let mut state = self.lock();
        match state.edge(user, friend) {
            Some(FriendEdge { agreed: true, .. }) => Ok(FriendRequestOutcome::Friends),
            Some(FriendEdge { agreed: false, .. }) => Ok(FriendRequestOutcome::Pending),
            None => {
                state.set_edge(user, friend, FriendEdge::new(false, remarks));
                state.outbox.put(events);
                Ok(FriendRequestOutcome::Sent(state.append(pushes, now)))
            }
        }
    }

    async fn agree(
        &self,
        user: UserId,
        requester: UserId,
        remarks: &str,
        pushes: &[AppendRequest],
        events: &[NewEvent],
        _at: UnixTimestamp,
    ) -> Result<FriendAcceptOutcome, StoreError> {
        AppendRequest::check("friend.agree", pushes)?;
        let now = self.append_time();
        let mut state = self.lock();
        let Some(asked) = state.edge_mut(requester, user) else {
            return Ok(FriendAcceptOutcome::NoRequest);
        };
        if asked.agreed {
            return Ok(FriendAcceptOutcome::Before);
        }
        asked.agreed = true;
        // Mutual requests become one friendship, and each user keeps the data of its own request.
        let mut edge = FriendEdge::new(true, remarks);
        if let Some(own) = state.edge(user, requester) {
            own.extra.clone_into(&mut edge.extra);
            if remarks.is_empty() {
                own.remarks.clone_into(&mut edge.remarks);
            }
        }
        state.set_edge(user, requester, edge);
        state.outbox.put(events);
        Ok(FriendAcceptOutcome::Now(state.append(pushes, now)))
    }

    async fn set(
        &self,
        user: UserId,
        friend: UserId,
        remarks: Option<&str>,
        extra: Option<&str>,
        _at: UnixTimestamp,
    ) -> Result<Option<Friend>, StoreError> {
        let mut state = self.lock();
        let Some(edge) = state.edge_mut(user, friend) else {
            return Ok(None);
        };
        if let Some(remarks) = remarks {
            remarks.clone_into(&mut edge.remarks);
        }
        if let Some(extra) = extra {
            extra.clone_into(&mut edge.extra);
        }
        Ok(Some(Friend {
            user: friend,
            remarks: edge.remarks.clone(),
            extra: edge.extra.clone(),
        }))
    }

    async fn are_friends(&self, user: UserId, friend: UserId) -> Result<bool, StoreError> {
        Ok(self.lock().edge(user, friend).is_some_and(|it| it.agreed))
    }

    async fn friends(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<ListPage<Friend>, StoreError> {
        let state = self.lock();
        let Some(ties) = state.friends.get(&user) else {
            return Ok(ListPage::default());
        };
        let friends = ties
            .range(above(after))
            .filter(|(_, edge)| edge.agreed)
            .map(|(id, edge)| Friend {
                user: *id,
                remarks: edge.remarks.clone(),
                extra: edge.extra.clone(),
            });
        Ok(page(friends, limit))
    }
}
