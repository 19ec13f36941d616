//! Devices: registration, generations and acks.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::id::{DeviceId, Generation, UserId};
use crate::seq::Seq;
use crate::store::StoreError;
use crate::time::Timestamp;

/// What a client says of its device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// gim's device type: 1 Android, 2 iOS, 3 Windows, 4 macOS, 5 Web.
    pub kind: i32,
    /// The maker.
    pub brand: String,
    /// The model.
    pub model: String,
    /// The operating system's version.
    pub system_version: String,
    /// The client library's version.
    pub sdk_version: String,
}

/// A registered device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// What it said of itself.
    pub info: DeviceInfo,
    /// The user who signed in on it last.
    pub user: Option<UserId>,
    /// How often it has signed in.
    pub generation: Generation,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it last signed in.
    pub updated_at: Timestamp,
}

/// How far a device has acked a user's inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckMark {
    /// The user.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// Everything up to and including this entry.
    pub upto: Seq,
}

/// Devices, their generations, and their acks.
#[async_trait]
pub trait DeviceStore: Debug + Send + Sync + 'static {
    /// Stores a new device under a reserved id.
    async fn register(
        &self,
        id: DeviceId,
        info: &DeviceInfo,
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// The device, or `None` if it was never registered.
    async fn get(&self, device: DeviceId) -> Result<Option<Device>, StoreError>;

    /// Raises the generation of each device by one and binds it to the user, durably, in one step
    /// for the whole batch; returns the new generations in order. An unregistered device counts too,
    /// from 1 (gim lets it sign in). A device named twice is raised twice (law 7).
    async fn raise(
        &self,
        sign_ins: &[(DeviceId, UserId)],
        at: Timestamp,
    ) -> Result<Vec<Generation>, StoreError>;

    /// Notes acks: each becomes the larger of itself and what was noted before (law 9). Losing the
    /// last ones costs a repeat at most, so they need not be durable before this returns.
    async fn ack(&self, acks: &[AckMark]) -> Result<(), StoreError>;

    /// What each device of the user has acked, by ascending device id.
    async fn acked(&self, user: UserId) -> Result<Vec<(DeviceId, Seq)>, StoreError>;
}
