//! User of a run.

use gimlet_client::DeviceCredentials;
use serde::{Deserialize, Serialize};

/// User on one device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TestAccount {
    /// User id.
    pub user: i64,
    /// Device id.
    pub device: i64,
    /// Token of this user on this device.
    pub token: String,
}

impl TestAccount {
    /// Returns the credentials for the client library.
    #[must_use]
    pub fn credentials(&self) -> DeviceCredentials {
        DeviceCredentials {
            user_id: self.user,
            device_id: self.device,
            token: self.token.clone(),
        }
    }
}
