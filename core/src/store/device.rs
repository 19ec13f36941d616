//! Devices: registration, generations and acks.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::id::{DeviceId, Generation, UserId};
use crate::seq::Seq;
use crate::store::StoreError;
use crate::time::UnixTimestamp;

/// Description of a device, as its client reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// gim's device type: 1 Android, 2 iOS, 3 Windows, 4 macOS, 5 Web.
    pub kind: i32,
    /// Manufacturer.
    pub brand: String,
    /// Model.
    pub model: String,
    /// Version of the operating system.
    pub system_version: String,
    /// Version of the client library.
    pub sdk_version: String,
}

/// A registered device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Its description.
    pub info: DeviceInfo,
    /// The user that signed in on it last.
    pub user: Option<UserId>,
    /// Number of sign-ins.
    pub generation: Generation,
    /// Time of registration.
    pub created_at: UnixTimestamp,
    /// Time of the last sign-in.
    pub updated_at: UnixTimestamp,
}

/// The ack of a device for a user's inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckMark {
    /// The user.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// The last entry acked; it includes all entries before it.
    pub upto: Seq,
}

/// Store of devices, their generations and their acks.
#[async_trait]
pub trait DeviceStore: Debug + Send + Sync + 'static {
    /// Stores a new device under a reserved id.
    async fn register(
        &self,
        id: DeviceId,
        info: &DeviceInfo,
        at: UnixTimestamp,
    ) -> Result<(), StoreError>;

    /// Returns the device; `None` if it was never registered.
    async fn get(&self, device: DeviceId) -> Result<Option<Device>, StoreError>;

    /// Returns whether the device is stored: it was registered, has signed in, or has an ack of the
    /// user.
    async fn is_known(&self, user: UserId, device: DeviceId) -> Result<bool, StoreError>;

    /// Raises the generation of each device by one and binds it to the user, durably, in one step
    /// for the whole batch. Returns the new generations in order. An unregistered device counts
    /// too, from 1, because gim lets it sign in. A device named twice is raised twice (law 7).
    async fn raise(
        &self,
        sign_ins: &[(DeviceId, UserId)],
        at: UnixTimestamp,
    ) -> Result<Vec<Generation>, StoreError>;

    /// Records acks: each becomes the larger of itself and the one recorded before (law 9). A lost
    /// ack costs at most a repeat, so acks need not be durable when this returns.
    async fn ack(&self, acks: &[AckMark]) -> Result<(), StoreError>;

    /// Returns the ack of each device of the user, by ascending device id.
    async fn acked(&self, user: UserId) -> Result<Vec<(DeviceId, Seq)>, StoreError>;
}
