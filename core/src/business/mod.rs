//! The seam to the business backend: token checks and user profiles.
//!
//! A backend connects its own service by serving gim's `BusinessInt`; [`Builtin`] is gimlet's own,
//! over [`AccountStore`](crate::store::AccountStore).

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::Refusal;
use crate::id::{DeviceId, UserId};
use crate::message::Profile;
use crate::time::Timestamp;

mod builtin;
mod open;
mod sign_in;
mod verify;

#[cfg(test)]
mod tests;

pub use builtin::{Builtin, BuiltinConfig};
pub use open::Open;
pub use sign_in::{SignIn, SignedIn};
pub use verify::{CodeVerifier, FixedCode};

/// A user as the business backend describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInfo {
    /// The user.
    pub user: UserId,
    /// The profile shown with the user's messages.
    pub profile: Profile,
    /// gim's `sex`: 0 unknown, 1 male, 2 female.
    pub sex: i32,
    /// Time of the user's creation.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
}

/// Requests to a business backend.
#[async_trait]
pub trait Business: Debug + Send + Sync + 'static {
    /// Accepts the token, or refuses it with [`Refusal::Unauthorized`]. Any other refusal means
    /// that the backend could not be reached.
    async fn auth(&self, user: UserId, device: DeviceId, token: &str) -> Result<(), Refusal>;

    /// As [`auth`](Self::auth), and returns the remaining validity of the token if the backend has
    /// one: a connection ends when the token that it signed in with expires.
    async fn auth_for(
        &self,
        user: UserId,
        device: DeviceId,
        token: &str,
    ) -> Result<Option<Duration>, Refusal> {
        self.auth(user, device, token).await.map(|()| None)
    }

    /// Returns these users, in any order, without the unknown ones.
    async fn users(&self, users: &[UserId]) -> Result<Vec<UserInfo>, Refusal>;
}
