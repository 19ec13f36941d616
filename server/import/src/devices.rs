//! Devices, with their ids. Their tokens are not imported: gim's are the same for every user, or
//! not in its database.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::store::{DeviceInfo, DeviceStore};

use crate::error::ImportError;
use crate::pass::{CONCURRENCY, ImportPass, times};
use crate::rows::DeviceRow;

/// Imports all devices, and the user that signed in last on each.
pub(crate) async fn import(pass: &mut ImportPass<'_>) -> Result<(), ImportError> {
    let mut after = 0;
    loop {
        let rows = pass.database.devices(after).await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = last.id;
        pass.advance(rows.len())?;
        let mut devices = Vec::with_capacity(rows.len());
        for row in rows {
            match check(&row) {
                Ok(device) => devices.push((device, row)),
                Err(what) => pass
                    .findings
                    .note("device", format_args!("id {}", row.id), what)?,
            }
        }
        pass.summary.devices += devices.len() as u64;
        if let Some(target) = pass.target {
            let writes = devices
                .into_iter()
                .map(|(device, row)| write(Arc::clone(&target.device), device, row));
            let written = stream::iter(writes).buffer_unordered(CONCURRENCY);
            written.try_collect::<Vec<()>>().await?;
        }
    }
}

fn check(row: &DeviceRow) -> Result<DeviceId, String> {
    let device =
        DeviceId::new(row.id).ok_or_else(|| "its id is larger than an int64 carries".to_owned())?;
    if row.user != 0 && !row.user_exists {
        return Err(format!("its user {} does not exist", row.user));
    }
    Ok(device)
}

async fn write(
    store: Arc<dyn DeviceStore>,
    device: DeviceId,
    row: DeviceRow,
) -> Result<(), ImportError> {
    let (created, updated) = times(row.times);
    let info = DeviceInfo {
        kind: i32::try_from(row.kind).unwrap_or_default(),
        brand: row.brand,
        model: row.model,
        system_version: row.system_version,
        sdk_version: row.sdk_version,
    };
    store.register(device, &info, created).await?;
    if let Some(user) = UserId::new(row.user) {
        store.raise(&[(device, user)], updated).await?;
    }
    Ok(())
}
