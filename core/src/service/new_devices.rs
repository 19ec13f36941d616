//! Limits the devices that a user makes by naming them.
//!
//! A token of a business server, and a JWT, may be used on any device id, also on one that was never
//! registered, and an id that has signed in is stored forever: its generation must not fall (law 7). So
//! the rows cannot be removed, and new ones are refused.

use std::sync::Arc;

use crate::error::RequestRefusal;
use crate::id::{DeviceId, UserId};
use crate::rate::RateLimiter;
use crate::store::DeviceStore;

/// Counts the new devices of each user in a day.
#[derive(Debug)]
pub(super) struct NewDeviceLimits {
    devices: Arc<dyn DeviceStore>,
    rate: RateLimiter<UserId>,
}

impl NewDeviceLimits {
    /// Allows each user this many new devices in a day.
    pub(super) fn new(devices: Arc<dyn DeviceStore>, per_day: u32) -> Self {
        Self {
            devices,
            rate: RateLimiter::per_day(per_day),
        }
    }

    /// Admits a sign-in, and returns whether it was counted as that of a new device: the caller gives
    /// that back with [`refund`](Self::refund) if the device was known. Nothing is read while the user
    /// has not reached the limit, so other sign-ins stay as fast as they are.
    ///
    /// # Errors
    /// [`RequestRefusal::RateLimited`] with the time to wait, for a new device beyond the limit.
    pub(super) async fn admit_sign_in(
        &self,
        user: UserId,
        device: DeviceId,
    ) -> Result<bool, RequestRefusal> {
        let Err(retry_after) = self.rate.take(user) else {
            return Ok(true);
        };
        if self.devices.is_known(user, device).await? {
            return Ok(false);
        }
        Err(RequestRefusal::RateLimited { retry_after })
    }

    /// Admits a device that is named without a sign-in.
    ///
    /// # Errors
    /// As [`admit_sign_in`](Self::admit_sign_in).
    pub(super) async fn admit(&self, user: UserId, device: DeviceId) -> Result<(), RequestRefusal> {
        if self.devices.is_known(user, device).await? {
            return Ok(());
        }
        let taken = self.rate.take(user);
        taken.map_err(|retry_after| RequestRefusal::RateLimited { retry_after })
    }

    /// Gives back the count of a sign-in whose device was known.
    pub(super) fn refund(&self, user: UserId) {
        self.rate.refund(&user);
    }
}
