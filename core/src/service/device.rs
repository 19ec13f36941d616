//! Devices: registering them, and where they are.

use crate::error::Refusal;
use crate::id::DeviceId;
use crate::service::{Service, check};
use crate::store::{Device, DeviceInfo, Route, Scope};

impl Service {
    /// Registers a device and returns its new id; every call makes another one.
    pub async fn register(&self, info: &DeviceInfo) -> Result<DeviceId, Refusal> {
        complete(info)?;
        let stores = &self.inner.stores;
        let number = stores.seq.reserve(Scope::Device, 1).await?;
        let id = DeviceId::new(number).ok_or(Refusal::Internal)?;
        let now = self.inner.clock.now();
        stores.device.register(id, info, now).await?;
        Ok(id)
    }

    /// The device, and its connection if it is signed in now.
    pub async fn device(&self, id: DeviceId) -> Result<(Device, Option<Route>), Refusal> {
        let stores = &self.inner.stores;
        let device = stores.device.get(id).await?;
        let device = device.ok_or(Refusal::NoSuchDevice(id))?;
        Ok((device, stores.route.device(id).await?))
    }
}

fn complete(info: &DeviceInfo) -> Result<(), Refusal> {
    if info.kind == 0 {
        return Err(Refusal::bad(
            "type is 0; set 1 Android, 2 iOS, 3 Windows, 4 macOS, 5 Web, or a number of your own",
        ));
    }
    let fields = [
        ("brand", &info.brand),
        ("model", &info.model),
        ("system_version", &info.system_version),
        ("sdk_version", &info.sdk_version),
    ];
    for (field, value) in fields {
        if value.is_empty() {
            return Err(Refusal::bad(format!(
                "{field} is empty; say what the device is"
            )));
        }
        check::text(field, value, check::NAME)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_says_what_it_is() {
        let info = DeviceInfo {
            kind: 1,
            brand: "b".into(),
            model: "m".into(),
            system_version: "s".into(),
            sdk_version: "k".into(),
        };
        assert_eq!(complete(&info), Ok(()));
        let wrong = [
            DeviceInfo {
                kind: 0,
                ..info.clone()
            },
            DeviceInfo {
                brand: String::new(),
                ..info.clone()
            },
            DeviceInfo {
                sdk_version: "v".repeat(256),
                ..info
            },
        ];
        for wrong in wrong {
            assert_eq!(complete(&wrong).unwrap_err().code(), 10001);
        }
    }
}
