//! Devices: registration, and lookup with the current route.

use std::net::SocketAddr;

use crate::error::RequestRefusal;
use crate::id::{DeviceId, UserId};
use crate::service::{LogicService, check};
use crate::store::{Device, DeviceInfo, Route, StoreErrorKind};

impl LogicService {
    /// Registers a device and returns a new id that cannot be guessed. Each call makes another
    /// device. `from` is the client's address, if the entry point knows it.
    ///
    /// # Errors
    /// [`RequestRefusal::RateLimited`] for too many registrations from there, and a refusal that
    /// names a field that is empty or too long.
    pub async fn register(
        &self,
        from: Option<SocketAddr>,
        info: &DeviceInfo,
    ) -> Result<DeviceId, RequestRefusal> {
        self.inner.registrations.take(from)?;
        self.register_for_backend(info).await
    }

    /// Registers a device for a backend, which may register as many as it wants to.
    ///
    /// # Errors
    /// A refusal that names a field that is empty or too long.
    pub async fn register_for_backend(
        &self,
        info: &DeviceInfo,
    ) -> Result<DeviceId, RequestRefusal> {
        complete(info)?;
        let now = self.inner.clock.now();
        for _ in 0..DEVICE_ID_ATTEMPTS {
            let id = random_id()?;
            match self.inner.stores.device.register(id, info, now).await {
                Ok(()) => return Ok(id),
                // The only possible misuse: the random id is taken.
                Err(error) if error.kind == StoreErrorKind::Misuse => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(RequestRefusal::Internal)
    }

    /// Returns the connections of the user on all nodes, as far as they are known.
    pub async fn connections_of(&self, user: UserId) -> Result<Vec<Route>, RequestRefusal> {
        let mut routes = self.inner.stores.route.of(&[user]).await?;
        // A fenced device has a route to no node.
        routes.retain(|route| !route.node.name.is_empty());
        routes.sort_unstable_by_key(|route| route.device);
        Ok(routes)
    }

    /// Returns the device, and its route if it is signed in now.
    pub async fn device(&self, id: DeviceId) -> Result<(Device, Option<Route>), RequestRefusal> {
        let stores = &self.inner.stores;
        let device = stores.device.get(id).await?;
        let device = device.ok_or(RequestRefusal::NoSuchDevice(id))?;
        let route = match device.user {
            Some(user) => stores.route.device(user, id).await?,
            None => None,
        };
        Ok((device, route))
    }
}

/// Attempts to find a free random id. Even among billions of devices a collision occurs only once
/// in millions of registrations.
const DEVICE_ID_ATTEMPTS: usize = 4;

/// Bits of a device id: the integers that a JavaScript number represents exactly.
const DEVICE_ID_BITS: u32 = 53;

fn random_id() -> Result<DeviceId, RequestRefusal> {
    let number = rand::random_range(1..1 << DEVICE_ID_BITS);
    DeviceId::new(number).ok_or(RequestRefusal::Internal)
}

fn complete(info: &DeviceInfo) -> Result<(), RequestRefusal> {
    if info.kind == 0 {
        return Err(RequestRefusal::bad(
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
            return Err(RequestRefusal::bad(format!(
                "{field} is empty; set it to a description of the device"
            )));
        }
        check::text(field, value, check::NAME_MAX_BYTES)?;
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
