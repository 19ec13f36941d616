//! A business backend for tests that accepts every user.

use async_trait::async_trait;

use super::{Business, UserInfo};
use crate::error::Refusal;
use crate::id::{DeviceId, UserId};
use crate::message::Profile;
use crate::time::Timestamp;

/// Accepts every token and returns every user, with an empty profile. For a test suite that embeds
/// a node and has no users to check; never for a server that strangers can reach.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

#[async_trait]
impl Business for Open {
    async fn auth(&self, _user: UserId, _device: DeviceId, _token: &str) -> Result<(), Refusal> {
        Ok(())
    }

    async fn users(&self, users: &[UserId]) -> Result<Vec<UserInfo>, Refusal> {
        let info = |&user: &UserId| UserInfo {
            user,
            profile: Profile::default(),
            sex: 0,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        };
        Ok(users.iter().map(info).collect())
    }
}
