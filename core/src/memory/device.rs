//! Devices, their generations, and their acks.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use async_trait::async_trait;

use crate::id::{DeviceId, Generation, UserId};
use crate::memory::helpers::lock;
use crate::seq::Seq;
use crate::store::{AckMark, Device, DeviceInfo, DeviceStore, StoreError, StoreErrorKind};
use crate::time::UnixTimestamp;

/// A device that is registered, has signed in, or both.
#[derive(Debug, Default)]
struct DeviceRow {
    registered: Option<(DeviceInfo, UnixTimestamp)>,
    user: Option<UserId>,
    generation: Generation,
    updated_at: UnixTimestamp,
}

/// All devices.
#[derive(Debug, Default)]
pub(super) struct MemoryDevices {
    rows: Mutex<HashMap<DeviceId, DeviceRow>>,
    acks: Mutex<HashMap<UserId, BTreeMap<DeviceId, Seq>>>,
}

#[async_trait]
impl DeviceStore for MemoryDevices {
    async fn register(
        &self,
        id: DeviceId,
        info: &DeviceInfo,
        at: UnixTimestamp,
    ) -> Result<(), StoreError> {
        let mut rows = lock(&self.rows);
        let row = rows.entry(id).or_default();
        if row.registered.is_some() {
            let text = "the device's id is taken";
            return Err(StoreError::with(
                "device.register",
                StoreErrorKind::Misuse,
                text,
            ));
        }
        row.registered = Some((info.clone(), at));
        row.updated_at = row.updated_at.max(at);
        Ok(())
    }

    async fn get(&self, device: DeviceId) -> Result<Option<Device>, StoreError> {
        let rows = lock(&self.rows);
        let found = rows.get(&device).and_then(|row| {
            let (info, created_at) = row.registered.clone()?;
            Some(Device {
                id: device,
                info,
                user: row.user,
                generation: row.generation,
                created_at,
                updated_at: row.updated_at,
            })
        });
        Ok(found)
    }

    async fn is_known(&self, user: UserId, device: DeviceId) -> Result<bool, StoreError> {
        if lock(&self.rows).contains_key(&device) {
            return Ok(true);
        }
        let acks = lock(&self.acks);
        Ok(acks.get(&user).is_some_and(|it| it.contains_key(&device)))
    }

    async fn raise(
        &self,
        sign_ins: &[(DeviceId, UserId)],
        at: UnixTimestamp,
    ) -> Result<Vec<Generation>, StoreError> {
        let mut rows = lock(&self.rows);
        let raised = sign_ins.iter().map(|(device, user)| {
            let row = rows.entry(*device).or_default();
            row.generation.0 += 1;
            row.user = Some(*user);
            row.updated_at = at;
            row.generation
        });
        Ok(raised.collect())
    }

    async fn ack(&self, acks: &[AckMark]) -> Result<(), StoreError> {
        let mut marks = lock(&self.acks);
        for ack in acks {
            let devices = marks.entry(ack.user).or_default();
            let mark = devices.entry(ack.device).or_default();
            *mark = ack.upto.max(*mark);
        }
        Ok(())
    }

    async fn acked(&self, user: UserId) -> Result<Vec<(DeviceId, Seq)>, StoreError> {
        let marks = lock(&self.acks);
        let devices = marks.get(&user).into_iter().flatten();
        Ok(devices.map(|(device, upto)| (*device, *upto)).collect())
    }
}
