//! Devices, their generations, and their acks.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use gimlet_core::id::{DeviceId, Generation, UserId};
use gimlet_core::seq::Seq;
use gimlet_core::store::{AckMark, Device, DeviceInfo, DeviceStore, StoreError};
use gimlet_core::time::UnixTimestamp;
use sqlx::Row as _;

use super::chunks;
use super::engine::{MysqlEngine, StatementEffect, WorkPace};
use super::session::{MysqlSession, device as device_id, number, text, time};
use crate::error::EngineError;

#[async_trait]
impl DeviceStore for MysqlEngine {
    async fn register(
        &self,
        id: DeviceId,
        info: &DeviceInfo,
        at: UnixTimestamp,
    ) -> Result<(), StoreError> {
        let info = Arc::new(info.clone());
        self.change("device.register", WorkPace::Prompt, move |session| {
            let info = Arc::clone(&info);
            async move { register(session, id, &info, at).await }.boxed()
        })
        .await
    }

    async fn get(&self, device: DeviceId) -> Result<Option<Device>, StoreError> {
        self.once("device.get", StatementEffect::Read, move |session| {
            async move {
                let sql = "SELECT kind, brand, model, system_version, sdk_version, user_id, \
                           generation, created_at, updated_at FROM device \
                           WHERE device_id = ? AND registered = 1";
                let row = session.row(sqlx::query(sql).bind(device.get())).await?;
                let Some(row) = row else { return Ok(None) };
                Ok(Some(Device {
                    id: device,
                    info: DeviceInfo {
                        kind: row.try_get(0)?,
                        brand: text(&row, 1)?,
                        model: text(&row, 2)?,
                        system_version: text(&row, 3)?,
                        sdk_version: text(&row, 4)?,
                    },
                    user: UserId::new(number(&row, 5)?),
                    generation: Generation(number(&row, 6)?),
                    created_at: time(&row, 7)?,
                    updated_at: time(&row, 8)?,
                }))
            }
            .boxed()
        })
        .await
    }

    async fn is_known(&self, user: UserId, device: DeviceId) -> Result<bool, StoreError> {
        self.once("device.is_known", StatementEffect::Read, move |session| {
            async move {
                let sql = "SELECT device_id FROM device WHERE device_id = ? UNION ALL \
                           SELECT device_id FROM device_ack WHERE user_id = ? AND device_id = ?";
                let query = sqlx::query(sql)
                    .bind(device.get())
                    .bind(user.get())
                    .bind(device.get());
                Ok(!session.rows(query).await?.is_empty())
            }
            .boxed()
        })
        .await
    }

    async fn raise(
        &self,
        sign_ins: &[(DeviceId, UserId)],
        at: UnixTimestamp,
    ) -> Result<Vec<Generation>, StoreError> {
        if sign_ins.is_empty() {
            return Ok(Vec::new());
        }
        let sign_ins: Arc<[(DeviceId, UserId)]> = sign_ins.into();
        self.change("device.raise", WorkPace::Prompt, move |session| {
            let sign_ins = Arc::clone(&sign_ins);
            async move { raise(session, &sign_ins, at).await }.boxed()
        })
        .await
    }

    async fn ack(&self, acks: &[AckMark]) -> Result<(), StoreError> {
        let mut marks: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        for ack in acks {
            let mark = marks.entry((ack.user.get(), ack.device.get())).or_default();
            *mark = ack.upto.get().max(*mark);
        }
        let marks: Arc<[_]> = marks.into_iter().collect();
        if marks.is_empty() {
            return Ok(());
        }
        self.once("device.ack", StatementEffect::Repeatable, move |session| {
            let marks = Arc::clone(&marks);
            async move {
                for chunk in chunks::padded_chunks(marks.len()) {
                    let mut upsert = sqlx::query(chunks::text(
                        "INSERT INTO device_ack (user_id, device_id, upto) VALUES ",
                        "(?, ?, ?)",
                        chunk.size(),
                        " ON DUPLICATE KEY UPDATE upto = GREATEST(upto, VALUES(upto))",
                    ));
                    for (at, _) in chunk.rows() {
                        let ((user, device), upto) = marks.get(at).expect("an index of these rows");
                        upsert = upsert.bind(*user).bind(*device).bind(*upto);
                    }
                    session.run(upsert).await?;
                }
                Ok(())
            }
            .boxed()
        })
        .await
    }

    async fn acked(&self, user: UserId) -> Result<Vec<(DeviceId, Seq)>, StoreError> {
        self.once("device.acked", StatementEffect::Read, move |session| {
            async move {
                let sql = "SELECT device_id, upto FROM device_ack WHERE user_id = ? \
                           ORDER BY device_id";
                let rows = session.rows(sqlx::query(sql).bind(user.get())).await?;
                let marks = rows.iter();
                marks
                    .map(|row| Ok((device_id(row, 0)?, Seq::new(number(row, 1)?))))
                    .collect()
            }
            .boxed()
        })
        .await
    }
}

async fn register(
    session: &mut MysqlSession,
    id: DeviceId,
    info: &DeviceInfo,
    at: UnixTimestamp,
) -> Result<(), EngineError> {
    let sql = "SELECT registered FROM device WHERE device_id = ? FOR UPDATE";
    let row = session.row(sqlx::query(sql).bind(id.get())).await?;
    if row.map(|row| row.try_get::<u8, _>(0)).transpose()? == Some(1) {
        return Err(EngineError::Misuse("the device's id is taken"));
    }
    // A device that signed in before it was registered keeps its generation and its user.
    let sql = "INSERT INTO device (device_id, registered, kind, brand, model, system_version, \
               sdk_version, user_id, generation, created_at, updated_at) \
               VALUES (?, 1, ?, ?, ?, ?, ?, 0, 0, ?, ?) ON DUPLICATE KEY UPDATE registered = 1, \
               kind = VALUES(kind), brand = VALUES(brand), model = VALUES(model), \
               system_version = VALUES(system_version), sdk_version = VALUES(sdk_version), \
               created_at = VALUES(created_at), \
               updated_at = GREATEST(updated_at, VALUES(updated_at))";
    let upsert = sqlx::query(sql)
        .bind(id.get())
        .bind(info.kind)
        .bind(&info.brand)
        .bind(&info.model)
        .bind(&info.system_version)
        .bind(&info.sdk_version)
        .bind(at.0)
        .bind(at.0);
    session.run(upsert).await?;
    Ok(())
}

async fn raise(
    session: &mut MysqlSession,
    sign_ins: &[(DeviceId, UserId)],
    at: UnixTimestamp,
) -> Result<Vec<Generation>, EngineError> {
    // Per device: the number of sign-ins, and the user of the last one.
    let mut counts: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for (device, user) in sign_ins {
        let (n, last) = counts.entry(device.get()).or_default();
        (*n, *last) = (*n + 1, user.get());
    }
    let rows: Vec<_> = counts.iter().map(|(device, it)| (*device, *it)).collect();
    for chunk in chunks::padded_chunks(rows.len()) {
        let mut upsert = sqlx::query(chunks::text(
            "INSERT INTO device (device_id, registered, kind, brand, model, system_version, \
             sdk_version, user_id, generation, created_at, updated_at) VALUES ",
            "(?, 0, 0, '', '', '', '', ?, ?, ?, ?)",
            chunk.size(),
            " ON DUPLICATE KEY UPDATE generation = generation + VALUES(generation), \
             user_id = VALUES(user_id), updated_at = VALUES(updated_at)",
        ));
        for (row, is_padding) in chunk.rows() {
            let (device, (n, user)) = rows.get(row).copied().expect("an index of these rows");
            upsert = upsert
                .bind(device)
                .bind(user)
                .bind(if is_padding { 0 } else { n })
                .bind(at.0)
                .bind(at.0);
        }
        session.run(upsert).await?;
    }
    // The upsert holds the row locks, so the generations read here are the ones that it has raised.
    let devices: Vec<u64> = rows.iter().map(|(device, _)| *device).collect();
    let head = "SELECT device_id, generation FROM device FORCE INDEX (PRIMARY) \
                WHERE device_id IN (";
    let mut last = HashMap::new();
    for row in session.rows_in(head, &devices, ") FOR UPDATE").await? {
        let (device, generation) = (number(&row, 0)?, number(&row, 1)?);
        let n = counts.get(&device).map_or(0, |(n, _)| *n);
        last.insert(device, generation - n);
    }
    let raised = sign_ins.iter().map(|(device, _)| {
        let last = last.get_mut(&device.get());
        let last = last.ok_or(EngineError::Corrupt(
            "a device is missing after it was raised",
        ))?;
        *last += 1;
        Ok(Generation(*last))
    });
    raised.collect()
}
