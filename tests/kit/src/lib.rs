//! The test kit: what tests of whole servers need, once.
//!
//! Serves the tests of every crate that starts processes or speaks to sockets; depends on the wire
//! protocol and the client library only.

pub mod backend;
pub mod bridge;
pub mod child;
pub mod database;
pub mod http_target;
pub mod proxy;
pub mod server;
pub mod wire;

use gimlet_client::{ApiClient, ApiError, DeviceCredentials};

/// Signs a user in on a new device.
///
/// # Errors
/// The server refused, or could not be reached.
pub async fn sign_in(api: &ApiClient, phone: &str) -> Result<DeviceCredentials, ApiError> {
    let device_id = api.register_device("test").await?;
    let signed_in = api.sign_in(phone, "000000", device_id).await?;
    Ok(DeviceCredentials {
        user_id: signed_in.user_id,
        device_id,
        token: signed_in.token,
    })
}

/// Returns a phone number that no other test uses.
#[must_use]
pub fn random_phone() -> String {
    format!("1{:010}", rand::random_range(0..10_000_000_000_u64))
}
