//! Friends and open friend requests.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use gimlet_core::id::UserId;
use gimlet_core::store::FriendStore;

use crate::error::ImportError;
use crate::pass::{CONCURRENCY, ImportPass, times};
use crate::rows::FriendRow;

/// gim's status of a request that waits for its answer. The comments in its schema say 1 and 2, its
/// programs write 0 and 1.
const REQUESTED: i64 = 0;
/// gim's status of a friend.
const AGREED: i64 = 1;

/// Imports all friends. A friendship that gim has stored on one side only, because its second
/// write failed, becomes one of both.
pub(crate) async fn import(pass: &mut ImportPass<'_>) -> Result<(), ImportError> {
    let mut after = (0, 0);
    loop {
        let rows = pass.database.friends(after).await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = (last.user, last.friend);
        pass.advance(rows.len())?;
        let mut edges = Vec::with_capacity(rows.len());
        for row in rows {
            match check(&row) {
                Ok(users) => edges.push((users, row)),
                Err(what) => {
                    let key = format_args!("user_id {}, friend_id {}", row.user, row.friend);
                    pass.findings.note("friend", key, what)?;
                }
            }
        }
        pass.summary.friends += edges.len() as u64;
        if let Some(target) = pass.target {
            let writes = edges
                .into_iter()
                .map(|(users, row)| write(Arc::clone(&target.friend), users, row));
            let written = stream::iter(writes).buffer_unordered(CONCURRENCY);
            written.try_collect::<Vec<()>>().await?;
        }
    }
}

fn check(row: &FriendRow) -> Result<(UserId, UserId), String> {
    if !row.users_exist {
        return Err("one of the two users does not exist".to_owned());
    }
    let ids = UserId::new(row.user).zip(UserId::new(row.friend));
    let (user, friend) = ids.ok_or_else(|| "its ids are not those of users".to_owned())?;
    if user == friend {
        return Err("it is a friendship of a user with itself".to_owned());
    }
    if ![REQUESTED, AGREED].contains(&row.status) {
        return Err(format!("its status {} is not 0 or 1", row.status));
    }
    Ok((user, friend))
}

async fn write(
    store: Arc<dyn FriendStore>,
    (user, friend): (UserId, UserId),
    row: FriendRow,
) -> Result<(), ImportError> {
    let (_, at) = times(row.times);
    // The row of the other side may come before, after or at the same time: in every order both
    // are friends in the end, and each side sets its own data.
    let request = store.request(user, friend, &row.remarks, &[], &[], at);
    request.await?;
    if row.status == AGREED {
        store.agree(friend, user, "", &[], &[], at).await?;
    }
    let set = store.set(user, friend, Some(&row.remarks), Some(&row.extra), at);
    set.await?;
    Ok(())
}
