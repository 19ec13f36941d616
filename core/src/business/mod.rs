//! The seam to the business backend: who may sign in, and who users are.
//!
//! A backend brings its own by serving gim's `BusinessInt`; [`Builtin`] is the one gimlet brings,
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
    /// What it shows beside its messages.
    pub profile: Profile,
    /// gim's `sex`: 0 unknown, 1 male, 2 female.
    pub sex: i32,
    /// When the user was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What gimlet asks of a business backend.
#[async_trait]
pub trait Business: Debug + Send + Sync + 'static {
    /// Accepts the token, or refuses it with [`Refusal::Unauthorized`]. Any other refusal says that
    /// the backend could not be asked.
    async fn auth(&self, user: UserId, device: DeviceId, token: &str) -> Result<(), Refusal>;

    /// The same, and how long the token is good for, if the backend says so: a connection ends with
    /// the token it signed in with.
    async fn auth_for(
        &self,
        user: UserId,
        device: DeviceId,
        token: &str,
    ) -> Result<Option<Duration>, Refusal> {
        self.auth(user, device, token).await.map(|()| None)
    }

    /// These users, in no particular order; an unknown one is left out.
    async fn users(&self, users: &[UserId]) -> Result<Vec<UserInfo>, Refusal>;
}
