//! Friends: requests, agreement, and a user's notes on a friend.

use std::sync::Arc;

use crate::business::UserInfo;
use crate::error::RequestRefusal;
use crate::events::{EventBody, EventKind};
use crate::id::UserId;
use crate::message::{MessageReceiver, MessageSender, UserProfile};
use crate::page::ListPage;
use crate::service::events::notify_written;
use crate::service::push::{SystemPush, append};
use crate::service::{LogicService, check};
use crate::store::{AppendRequest, Friend, FriendAcceptOutcome, FriendRequestOutcome};

impl LogicService {
    /// Sends a friend request from `user` to `friend`; a repeat of an open request changes nothing.
    pub async fn add_friend(
        &self,
        user: UserId,
        friend: UserId,
        remarks: String,
        description: String,
    ) -> Result<(), RequestRefusal> {
        if user == friend {
            return Err(RequestRefusal::bad(
                "friend_id is your own id; name the user to ask",
            ));
        }
        check::name("remarks", &remarks)?;
        check::text("description", &description, check::TEXT_MAX_BYTES)?;
        self.take_rate(sender(user))?;
        if !self.inner.directory.exists(friend).await? {
            return Err(RequestRefusal::NoSuchUser(friend));
        }
        let UserProfile {
            nickname,
            avatar_url,
            ..
        } = UserProfile::clone(&*self.inner.directory.sender(sender(user)).await);
        let push = SystemPush::AddFriend {
            user,
            nickname,
            avatar_url,
            description: description.clone(),
        };
        let this = self.clone();
        self.complete(async move {
            let at = this.inner.clock.now();
            let events = this.events_of(EventKind::FriendRequested, at, || {
                EventBody::FriendRequested {
                    user,
                    friend,
                    description,
                }
            });
            let pushes = [this.push_to(friend, &push)];
            let friends = &this.inner.stores.friend;
            match friends
                .request(user, friend, &remarks, &pushes, &events, at)
                .await?
            {
                FriendRequestOutcome::Sent(appended) => {
                    notify_written(&events);
                    this.deliver_pushes(&pushes, appended, None).await;
                    Ok(())
                }
                FriendRequestOutcome::Pending => Ok(()),
                FriendRequestOutcome::Friends => Err(RequestRefusal::AlreadyFriends(friend)),
            }
        })
        .await
    }

    /// Accepts the request of `requester` for `user`; a repeat changes nothing.
    pub async fn agree_friend(
        &self,
        user: UserId,
        requester: UserId,
        remarks: String,
    ) -> Result<(), RequestRefusal> {
        if user == requester {
            return Err(RequestRefusal::bad(
                "user_id is your own id; name the user who asked",
            ));
        }
        check::name("remarks", &remarks)?;
        self.take_rate(sender(user))?;
        let UserProfile {
            nickname,
            avatar_url,
            ..
        } = UserProfile::clone(&*self.inner.directory.sender(sender(user)).await);
        let push = SystemPush::AgreeAddFriend {
            user,
            nickname,
            avatar_url,
        };
        let this = self.clone();
        self.complete(async move {
            let at = this.inner.clock.now();
            let events = this.events_of(EventKind::FriendAccepted, at, || {
                EventBody::FriendAccepted {
                    user,
                    friend: requester,
                }
            });
            let pushes = [this.push_to(requester, &push)];
            let friends = &this.inner.stores.friend;
            match friends
                .agree(user, requester, &remarks, &pushes, &events, at)
                .await?
            {
                FriendAcceptOutcome::Now(appended) => {
                    notify_written(&events);
                    this.deliver_pushes(&pushes, appended, None).await;
                    Ok(())
                }
                FriendAcceptOutcome::Before => Ok(()),
                FriendAcceptOutcome::NoRequest => Err(RequestRefusal::bad(format!(
                    "{requester} has not asked to be your friend; call AddFriend to ask"
                ))),
            }
        })
        .await
    }

    /// Sets the notes of `user` on a friend, or on a user that it has asked; `None` leaves a field
    /// unchanged. Returns the stored notes.
    ///
    /// # Errors
    /// 10001 for any other user: nothing is stored (gim answers this with a success).
    pub async fn set_friend(
        &self,
        user: UserId,
        friend: UserId,
        remarks: Option<&str>,
        extra: Option<&str>,
    ) -> Result<Friend, RequestRefusal> {
        check::name_if("remarks", remarks)?;
        check::text_if("extra", extra, check::TEXT_MAX_BYTES)?;
        self.take_rate(sender(user))?;
        let at = self.inner.clock.now();
        let friends = &self.inner.stores.friend;
        let kept = friends.set(user, friend, remarks, extra, at).await?;
        kept.ok_or_else(|| {
            RequestRefusal::bad(format!(
                "user {friend} is not your friend; call AddFriend first"
            ))
        })
    }

    /// Returns up to `limit` friends of the user with an id above `after`, ascending, each with the
    /// backend's user info if available.
    pub async fn friends(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<ListPage<(Friend, Option<UserInfo>)>, RequestRefusal> {
        let friends = &self.inner.stores.friend;
        let page = friends.friends(user, after, limit).await?;
        let ids: Vec<UserId> = page.items.iter().map(|friend| friend.user).collect();
        let people = self.inner.directory.people(&ids).await.unwrap_or_default();
        let with_info = page.items.into_iter().map(|friend| {
            let info = people.get(&friend.user).map(|person| person.info.clone());
            (friend, info)
        });
        Ok(ListPage {
            items: with_info.collect(),
            more: page.more,
        })
    }

    fn push_to(&self, user: UserId, push: &SystemPush) -> AppendRequest {
        let receiver = MessageReceiver::User(user);
        let at = self.inner.clock.now();
        append(&*self.inner.codec, push, receiver, Arc::from([user]), at)
    }
}

const fn sender(user: UserId) -> MessageSender {
    MessageSender::User { user, device: None }
}
