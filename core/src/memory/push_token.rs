//! Addresses of devices at push services.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use async_trait::async_trait;

use crate::id::{DeviceId, UserId};
use crate::memory::helpers::lock;
use crate::store::{PushRegistration, PushTokenStore, StoreError};

/// All push addresses.
#[derive(Debug, Default)]
pub(super) struct MemoryPushTokens(Mutex<PushTokenTable>);

#[derive(Debug, Default)]
struct PushTokenTable {
    by_user: HashMap<UserId, BTreeMap<DeviceId, PushRegistration>>,
    /// Owner of each address, by its fingerprint.
    owners: HashMap<[u8; 32], (UserId, DeviceId)>,
}

impl PushTokenTable {
    fn remove(&mut self, user: UserId, device: DeviceId) -> bool {
        let Some(devices) = self.by_user.get_mut(&user) else {
            return false;
        };
        let Some(removed) = devices.remove(&device) else {
            return false;
        };
        if devices.is_empty() {
            self.by_user.remove(&user);
        }
        self.owners.remove(&removed.address.fingerprint());
        true
    }

    /// Returns the device of the user that registered first, if the user has more than `max_devices`.
    fn surplus(&self, user: UserId, max_devices: usize) -> Option<DeviceId> {
        let devices = self.by_user.get(&user)?;
        let oldest = devices
            .values()
            .min_by_key(|it| (it.registered_at, it.device));
        oldest
            .filter(|_| devices.len() > max_devices)
            .map(|oldest| oldest.device)
    }
}

#[async_trait]
impl PushTokenStore for MemoryPushTokens {
    async fn put(
        &self,
        user: UserId,
        registration: &PushRegistration,
        max_devices: usize,
    ) -> Result<(), StoreError> {
        let mut table = lock(&self.0);
        let (device, fingerprint) = (registration.device, registration.address.fingerprint());
        table.remove(user, device);
        if let Some((holder, on)) = table.owners.get(&fingerprint).copied() {
            table.remove(holder, on);
        }
        table.owners.insert(fingerprint, (user, device));
        let devices = table.by_user.entry(user).or_default();
        devices.insert(device, registration.clone());
        while let Some(oldest) = table.surplus(user, max_devices) {
            table.remove(user, oldest);
        }
        Ok(())
    }

    async fn of(&self, users: &[UserId]) -> Result<Vec<(UserId, PushRegistration)>, StoreError> {
        let table = lock(&self.0);
        let users: BTreeSet<UserId> = users.iter().copied().collect();
        let found = users.into_iter().flat_map(|user| {
            let devices = table.by_user.get(&user).into_iter().flatten();
            devices.map(move |(_, it)| (user, it.clone()))
        });
        Ok(found.collect())
    }

    async fn remove(
        &self,
        user: UserId,
        device: DeviceId,
        only: Option<[u8; 32]>,
    ) -> Result<bool, StoreError> {
        let mut table = lock(&self.0);
        let held = table.by_user.get(&user).and_then(|it| it.get(&device));
        let is_meant = held.is_some_and(|held| {
            only.is_none_or(|fingerprint| held.address.fingerprint() == fingerprint)
        });
        Ok(is_meant && table.remove(user, device))
    }
}
