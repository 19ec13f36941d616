//! Users that JWTs name.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;

use crate::id::UserId;
use crate::memory::helpers::lock;
use crate::store::{JwtProfileChange, JwtRevocation, JwtUser, JwtUserStore, StoreError};
use crate::time::UnixTimestamp;

/// All users that JWTs name.
#[derive(Debug, Default)]
pub(super) struct MemoryJwtUsers(Mutex<BTreeMap<UserId, JwtUser>>);

impl MemoryJwtUsers {
    fn change(&self, user: UserId, change: impl FnOnce(&mut JwtUser)) {
        let mut users = lock(&self.0);
        change(users.entry(user).or_insert_with(|| JwtUser::new(user)));
    }
}

#[async_trait]
impl JwtUserStore for MemoryJwtUsers {
    async fn get(&self, users: &[UserId]) -> Result<Vec<JwtUser>, StoreError> {
        let known = lock(&self.0);
        let found = users.iter().filter_map(|user| known.get(user));
        Ok(found.cloned().collect())
    }

    async fn set_profile(
        &self,
        user: UserId,
        change: &JwtProfileChange,
        at: UnixTimestamp,
    ) -> Result<(), StoreError> {
        self.change(user, |it| it.set_profile(change, at));
        Ok(())
    }

    async fn revoke(
        &self,
        user: UserId,
        revocation: JwtRevocation,
        now: UnixTimestamp,
    ) -> Result<(), StoreError> {
        self.change(user, |it| it.revoke(revocation, now));
        Ok(())
    }
}
