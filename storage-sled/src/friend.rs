//! Friends, and friend requests that wait for an answer.

use async_trait::async_trait;
use gimlet_core::events::NewEvent;
use gimlet_core::id::UserId;
use gimlet_core::page::ListPage;
use gimlet_core::store::{
    AppendRequest, Friend, FriendAcceptOutcome, FriendRequestOutcome, FriendStore, StoreError,
};
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::store;

use crate::append::ChangeNotices;
use crate::error::EngineError;
use crate::space::SpaceEffect;
use crate::store::{SledStore, page, set};
use crate::txn::WriteTransaction;
use crate::{key, record};

fn row(remarks: &str, at: UnixTimestamp) -> store::Friend {
    store::Friend {
        remarks: remarks.to_owned(),
        extra: String::new(),
        updated_ms: record::ms(at),
    }
}

fn request(
    txn: &mut WriteTransaction<'_>,
    user: UserId,
    friend: UserId,
    asked: &store::Friend,
    notices: &ChangeNotices,
) -> Result<FriendRequestOutcome, EngineError> {
    if txn.has(&key::friend(user, friend))? {
        return Ok(FriendRequestOutcome::Friends);
    }
    let name = key::request(user, friend);
    if txn.has(&name)? {
        return Ok(FriendRequestOutcome::Pending);
    }
    txn.put(&name, asked)?;
    Ok(FriendRequestOutcome::Sent(notices.store(txn)?))
}

fn agree(
    txn: &mut WriteTransaction<'_>,
    user: UserId,
    requester: UserId,
    agreed: &store::Friend,
    notices: &ChangeNotices,
) -> Result<FriendAcceptOutcome, EngineError> {
    if txn.has(&key::friend(requester, user))? {
        return Ok(FriendAcceptOutcome::Before);
    }
    let Some(asked) = txn.get::<store::Friend>(&key::request(requester, user))? else {
        return Ok(FriendAcceptOutcome::NoRequest);
    };
    // The user's own request is removed as well: mutual requests make one friendship, which keeps
    // the remarks and the extra data of both requests.
    let own: Option<store::Friend> = txn.get(&key::request(user, requester))?;
    let mut agreed = agreed.clone();
    if let Some(own) = own {
        agreed.extra = own.extra;
        if agreed.remarks.is_empty() {
            agreed.remarks = own.remarks;
        }
    }
    txn.remove(&key::request(requester, user))?;
    txn.remove(&key::request(user, requester))?;
    txn.put(&key::friend(requester, user), &asked)?;
    txn.put(&key::friend(user, requester), &agreed)?;
    Ok(FriendAcceptOutcome::Now(notices.store(txn)?))
}

#[async_trait]
impl FriendStore for SledStore {
    async fn request(
        &self,
        user: UserId,
        friend: UserId,
        remarks: &str,
        pushes: &[AppendRequest],
        events: &[NewEvent],
        at: UnixTimestamp,
    ) -> Result<FriendRequestOutcome, StoreError> {
        AppendRequest::check("friend.request", pushes)?;
        let (row, notices) = (row(remarks, at), ChangeNotices::new(pushes, events));
        let ask = move |txn: &mut WriteTransaction<'_>| request(txn, user, friend, &row, &notices);
        self.change("friend.request", SpaceEffect::Adds, ask).await
    }

    async fn agree(
        &self,
        user: UserId,
        requester: UserId,
        remarks: &str,
        pushes: &[AppendRequest],
        events: &[NewEvent],
        at: UnixTimestamp,
    ) -> Result<FriendAcceptOutcome, StoreError> {
        AppendRequest::check("friend.agree", pushes)?;
        let (row, notices) = (row(remarks, at), ChangeNotices::new(pushes, events));
        let agree =
            move |txn: &mut WriteTransaction<'_>| agree(txn, user, requester, &row, &notices);
        self.change("friend.agree", SpaceEffect::Adds, agree).await
    }

    async fn set(
        &self,
        user: UserId,
        friend: UserId,
        remarks: Option<&str>,
        extra: Option<&str>,
        at: UnixTimestamp,
    ) -> Result<Option<Friend>, StoreError> {
        let (remarks, extra) = (remarks.map(str::to_owned), extra.map(str::to_owned));
        let change = self.change("friend.set", SpaceEffect::Adds, move |txn| {
            let mut name = key::friend(user, friend);
            if !txn.has(&name)? {
                name = key::request(user, friend);
            }
            let Some(mut row) = txn.get::<store::Friend>(&name)? else {
                return Ok(None);
            };
            set(&mut row.remarks, remarks.as_deref());
            set(&mut row.extra, extra.as_deref());
            row.updated_ms = record::ms(at);
            txn.put(&name, &row)?;
            Ok(Some(Friend {
                user: friend,
                remarks: row.remarks,
                extra: row.extra,
            }))
        });
        change.await
    }

    async fn are_friends(&self, user: UserId, friend: UserId) -> Result<bool, StoreError> {
        let read = self.read("friend.are_friends", move |rows| {
            rows.has(&key::friend(user, friend))
        });
        read.await
    }

    async fn friends(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<ListPage<Friend>, StoreError> {
        let read = self.read("friend.friends", move |rows| {
            let behind = after.map(|friend| key::friend(user, friend));
            let behind = behind.as_ref().map(<[u8; 17]>::as_slice);
            let friends = rows.scan(&key::friends(user), behind).map(|found| {
                let (name, value) = found?;
                let row: store::Friend = rows.decode(&name, &value)?;
                Ok(Friend {
                    user: record::key_user(&name)?,
                    remarks: row.remarks,
                    extra: row.extra,
                })
            });
            page(friends, limit)
        });
        read.await
    }
}
