//! A business backend for tests that accepts every user.

use async_trait::async_trait;

use super::{BusinessBackend, UserInfo};
use crate::error::RequestRefusal;
use crate::id::{DeviceId, UserId};
use crate::message::UserProfile;
use crate::time::UnixTimestamp;

/// Accepts every token and returns every user, with an empty profile. For a test suite that embeds
/// a node and has no users to check; never for a server that strangers can reach.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenBusiness;

#[async_trait]
impl BusinessBackend for OpenBusiness {
    async fn auth(
        &self,
        _user: UserId,
        _device: DeviceId,
        _token: &str,
    ) -> Result<(), RequestRefusal> {
        Ok(())
    }

    async fn users(&self, users: &[UserId]) -> Result<Vec<UserInfo>, RequestRefusal> {
        let info = |&user: &UserId| UserInfo {
            user,
            profile: UserProfile::default(),
            sex: 0,
            created_at: UnixTimestamp(0),
            updated_at: UnixTimestamp(0),
        };
        Ok(users.iter().map(info).collect())
    }
}
