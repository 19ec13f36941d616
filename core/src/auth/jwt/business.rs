//! The business role with JWTs in front of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::authority::JwtAuthority;
use super::claims::is_jwt;
use crate::business::{BusinessBackend, ProfileObserver, UserInfo};
use crate::error::RequestRefusal;
use crate::id::{DeviceId, UserId};

/// A business role whose users may also present JWTs. Other tokens, and users that no JWT has
/// named, are the business of the role behind it.
#[derive(Clone, Debug)]
pub struct JwtBusiness {
    authority: JwtAuthority,
    inner: Arc<dyn BusinessBackend>,
}

impl JwtBusiness {
    /// Puts this authority in front of a business role.
    #[must_use]
    pub fn new(authority: JwtAuthority, inner: Arc<dyn BusinessBackend>) -> Self {
        Self { authority, inner }
    }
}

#[async_trait]
impl BusinessBackend for JwtBusiness {
    async fn auth(
        &self,
        user: UserId,
        device: DeviceId,
        token: &str,
    ) -> Result<(), RequestRefusal> {
        self.auth_for(user, device, token).await.map(|_| ())
    }

    async fn auth_for(
        &self,
        user: UserId,
        device: DeviceId,
        token: &str,
    ) -> Result<Option<Duration>, RequestRefusal> {
        if !is_jwt(token) {
            return self.inner.auth_for(user, device, token).await;
        }
        // Before the check: a token of another user must not change that user's profile.
        let claimed = self.authority.claimed(token);
        if claimed.is_some_and(|it| it.user != user) {
            return Err(RequestRefusal::Unauthorized(
                "the JWT is for another user; user_id must be its sub",
            ));
        }
        let checked = self.authority.check(token).await?;
        if checked.device.is_some_and(|it| it != device) {
            return Err(RequestRefusal::Unauthorized(
                "the JWT is for another device; device_id must be its claim device",
            ));
        }
        Ok(Some(checked.left))
    }

    async fn users(&self, users: &[UserId]) -> Result<Vec<UserInfo>, RequestRefusal> {
        let mut found = self.inner.users(users).await?;
        let known: HashSet<_> = found.iter().map(|it| it.user).collect();
        let missing = users.iter().filter(|user| !known.contains(user));
        let missing: Vec<_> = missing.copied().collect();
        if !missing.is_empty() {
            found.extend(self.authority.users(&missing).await?);
        }
        Ok(found)
    }

    fn observe(&self, observer: &Arc<dyn ProfileObserver>) {
        self.authority.observe(Arc::clone(observer));
        self.inner.observe(observer);
    }
}

#[cfg(test)]
mod tests;
