//! Devices, their generations, and their acks.

use async_trait::async_trait;
use gimlet_core::id::{DeviceId, Generation, UserId};
use gimlet_core::seq::Seq;
use gimlet_core::store::{AckMark, Device, DeviceInfo, DeviceStore, StoreError};
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::store::{self, Number};

use crate::error::EngineError;
use crate::space::SpaceEffect;
use crate::store::SledStore;
use crate::txn::WriteTransaction;
use crate::{key, record};

fn device(id: DeviceId, row: store::Device) -> Result<Device, EngineError> {
    Ok(Device {
        id,
        info: DeviceInfo {
            kind: row.kind,
            brand: row.brand,
            model: row.model,
            system_version: row.system_version,
            sdk_version: row.sdk_version,
        },
        user: match row.user {
            0 => None,
            raw => Some(record::user(raw)?),
        },
        generation: Generation(row.generation),
        created_at: UnixTimestamp(row.created_ms),
        updated_at: UnixTimestamp(row.updated_ms),
    })
}

fn register(
    txn: &mut WriteTransaction<'_>,
    id: DeviceId,
    info: DeviceInfo,
    at: UnixTimestamp,
) -> Result<(), EngineError> {
    // A device that signed in before it was registered keeps its generation.
    let former: store::Device = txn.get(&key::device(id))?.unwrap_or_default();
    if former.registered {
        return Err(EngineError::Misuse("the device's id is taken"));
    }
    let at = record::ms(at);
    let row = store::Device {
        registered: true,
        kind: info.kind,
        brand: info.brand,
        model: info.model,
        system_version: info.system_version,
        sdk_version: info.sdk_version,
        created_ms: at,
        updated_ms: at.max(former.updated_ms),
        ..former
    };
    txn.put(&key::device(id), &row)
}

fn raise(
    txn: &mut WriteTransaction<'_>,
    device: DeviceId,
    user: UserId,
    at: UnixTimestamp,
) -> Result<Generation, EngineError> {
    let name = key::device(device);
    let mut row: store::Device = txn.get(&name)?.unwrap_or_default();
    row.generation += 1;
    row.user = user.get();
    row.updated_ms = record::ms(at);
    txn.put(&name, &row)?;
    Ok(Generation(row.generation))
}

fn ack(txn: &mut WriteTransaction<'_>, mark: &AckMark) -> Result<(), EngineError> {
    let name = key::ack(mark.user, mark.device);
    let former: Option<Number> = txn.get(&name)?;
    let value = mark.upto.get();
    if former.is_some_and(|it| it.value >= value) {
        return Ok(());
    }
    txn.put(&name, &Number { value })
}

#[async_trait]
impl DeviceStore for SledStore {
    async fn register(
        &self,
        id: DeviceId,
        info: &DeviceInfo,
        at: UnixTimestamp,
    ) -> Result<(), StoreError> {
        let info = info.clone();
        let register = move |txn: &mut WriteTransaction<'_>| register(txn, id, info, at);
        self.change("device.register", SpaceEffect::Adds, register)
            .await
    }

    async fn get(&self, id: DeviceId) -> Result<Option<Device>, StoreError> {
        let read = self.read("device.get", move |rows| {
            let row: Option<store::Device> = rows.get(&key::device(id))?;
            let row = row.filter(|it| it.registered);
            row.map(|row| device(id, row)).transpose()
        });
        read.await
    }

    async fn is_known(&self, user: UserId, id: DeviceId) -> Result<bool, StoreError> {
        let read = self.read("device.is_known", move |rows| {
            let row: Option<store::Device> = rows.get(&key::device(id))?;
            if row.is_some() {
                return Ok(true);
            }
            let ack: Option<Number> = rows.get(&key::ack(user, id))?;
            Ok(ack.is_some())
        });
        read.await
    }

    async fn raise(
        &self,
        sign_ins: &[(DeviceId, UserId)],
        at: UnixTimestamp,
    ) -> Result<Vec<Generation>, StoreError> {
        let sign_ins = sign_ins.to_vec();
        let change = self.change("device.raise", SpaceEffect::Sets, move |txn| {
            let raised = sign_ins.iter();
            raised
                .map(|(device, user)| raise(txn, *device, *user, at))
                .collect()
        });
        change.await
    }

    async fn ack(&self, acks: &[AckMark]) -> Result<(), StoreError> {
        let acks = acks.to_vec();
        let change = self.change("device.ack", SpaceEffect::Sets, move |txn| {
            acks.iter().try_for_each(|mark| ack(txn, mark))
        });
        change.await
    }

    async fn acked(&self, user: UserId) -> Result<Vec<(DeviceId, Seq)>, StoreError> {
        let read = self.read("device.acked", move |rows| {
            let found = rows.scan(&key::acks(user), None).map(|found| {
                let (name, value) = found?;
                let row: Number = rows.decode(&name, &value)?;
                Ok((record::key_device(&name)?, Seq::new(row.value)))
            });
            found.collect()
        });
        read.await
    }
}
