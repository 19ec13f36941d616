//! Users of gim's own user service.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use gimlet_core::id::UserId;
use gimlet_core::store::{AccountChange, AccountStore, IdScope, NewAccount};

use crate::error::ImportError;
use crate::pass::{CONCURRENCY, ImportPass, times};
use crate::rows::UserRow;

/// Imports all users, with their ids.
pub(crate) async fn import(pass: &mut ImportPass<'_>) -> Result<(), ImportError> {
    if let Some(target) = pass.target {
        let last = pass.database.last_id("user").await?;
        target.seq.skip(IdScope::User, last).await?;
    }
    let mut after = 0;
    loop {
        let rows = pass.database.users(after).await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = last.id;
        pass.advance(rows.len())?;
        let mut users = Vec::with_capacity(rows.len());
        for row in rows {
            match check(&row) {
                Ok(user) => users.push((user, row)),
                Err(what) => pass
                    .findings
                    .note("user", format_args!("id {}", row.id), what)?,
            }
        }
        pass.summary.users += users.len() as u64;
        if let Some(target) = pass.target {
            let writes = users
                .into_iter()
                .map(|(user, row)| write(Arc::clone(&target.account), user, row));
            let written = stream::iter(writes).buffer_unordered(CONCURRENCY);
            written.try_collect::<Vec<()>>().await?;
        }
    }
}

fn check(row: &UserRow) -> Result<UserId, String> {
    let user =
        UserId::new(row.id).ok_or_else(|| "its id is larger than an int64 carries".to_owned())?;
    if row.phone.is_empty() {
        return Err("it has no phone number to sign in with".to_owned());
    }
    Ok(user)
}

async fn write(
    store: Arc<dyn AccountStore>,
    user: UserId,
    row: UserRow,
) -> Result<(), ImportError> {
    let (created, updated) = times(row.times);
    let new = NewAccount {
        user,
        phone: row.phone,
        at: created,
    };
    let (account, _) = store.find_or_create(&new).await?;
    if account.user != user {
        return Err(ImportError::PhoneTaken(user.get()));
    }
    let change = AccountChange {
        nickname: Some(row.nickname),
        sex: Some(i32::try_from(row.sex).unwrap_or_default()),
        avatar_url: Some(row.avatar_url),
        extra: Some(row.extra),
    };
    store.update(user, &change, updated).await?;
    Ok(())
}
