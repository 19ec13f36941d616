//! The seam to the business backend: token checks and user profiles.
//!
//! A backend connects its own service by serving gim's `BusinessInt`; [`BuiltinBusiness`] is
//! gimlet's own, over [`AccountStore`](crate::store::AccountStore).

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::RequestRefusal;
use crate::id::{DeviceId, UserId};
use crate::message::UserProfile;
use crate::store::JwtUser;
use crate::time::UnixTimestamp;

mod builtin;
mod open;
mod sign_in;
mod verify;

#[cfg(test)]
mod tests;

pub use builtin::{BuiltinBusiness, BuiltinConfig};
pub(crate) use builtin::{check_change, check_phone};
pub use open::OpenBusiness;
pub use sign_in::{SignIn, SignedIn};
pub use verify::{CodeVerifier, FixedCode};

/// A user as the business backend describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInfo {
    /// The user.
    pub user: UserId,
    /// The profile shown with the user's messages.
    pub profile: UserProfile,
    /// gim's `sex`: 0 unknown, 1 male, 2 female.
    pub sex: i32,
    /// Time of the user's creation.
    pub created_at: UnixTimestamp,
    /// Time of the last change.
    pub updated_at: UnixTimestamp,
}

impl UserInfo {
    /// Returns the user of a record of JWTs; `None` if no accepted token has named it.
    pub(crate) fn of_jwt(stored: JwtUser) -> Option<Self> {
        let profile = stored.profile?;
        Some(Self {
            user: stored.user,
            profile: UserProfile {
                nickname: profile.nickname,
                avatar_url: profile.avatar_url,
                extra: String::new(),
            },
            sex: 0,
            created_at: profile.created_at,
            updated_at: profile.updated_at,
        })
    }
}

/// Receives the users that are new or whose profiles have changed.
#[async_trait]
pub trait ProfileObserver: Debug + Send + Sync + 'static {
    /// Drops everything that is cached about this user.
    async fn profile_changed(&self, user: UserId);
}

/// Requests to a business backend.
#[async_trait]
pub trait BusinessBackend: Debug + Send + Sync + 'static {
    /// Accepts the token, or refuses it with [`RequestRefusal::Unauthorized`]. Any other refusal
    /// means that the backend could not be reached.
    async fn auth(&self, user: UserId, device: DeviceId, token: &str)
    -> Result<(), RequestRefusal>;

    /// As [`auth`](Self::auth), and returns the remaining validity of the token if the backend has
    /// one: a connection ends when the token that it signed in with expires.
    async fn auth_for(
        &self,
        user: UserId,
        device: DeviceId,
        token: &str,
    ) -> Result<Option<Duration>, RequestRefusal> {
        self.auth(user, device, token).await.map(|()| None)
    }

    /// Returns these users, in any order, without the unknown ones.
    async fn users(&self, users: &[UserId]) -> Result<Vec<UserInfo>, RequestRefusal>;

    /// Reports the users that this process makes or changes from now on to the observer, after each
    /// change. Changes that happen elsewhere are not reported: they are seen when a cached profile expires.
    fn observe(&self, _observer: &Arc<dyn ProfileObserver>) {}
}
