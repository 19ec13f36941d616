//! A user with a phone, and possibly more devices.

use gimlet_client::DeviceCredentials;

use super::{Device, ScenarioFixture};

/// Sign-in code that a server on loopback accepts.
const CODE: &str = "000000";

/// A user of a scenario.
#[derive(Debug)]
pub struct ScenarioUser {
    /// The user's id.
    pub id: i64,
    /// The user's name.
    pub name: String,
    /// The first device.
    pub phone: Device,
    number: String,
    fixture: ScenarioFixture,
}

impl ScenarioUser {
    pub(crate) async fn new(world: &ScenarioFixture, name: &str, number: String) -> Self {
        let who = sign_up(world, &number).await;
        let phone = Device::new(world, &format!("{name}'s phone"), who.clone());
        let change = gimlet_client::pb::UpdateUserReq {
            nickname: Some(name.to_owned()),
            ..Default::default()
        };
        let named = phone.api().update_user(change).await;
        named.unwrap_or_else(|error| panic!("cannot set the nickname of {name}: {error}"));
        Self {
            id: who.user_id,
            name: name.to_owned(),
            phone,
            number,
            fixture: world.clone(),
        }
    }

    /// Connects one more device of this user.
    pub async fn device(&self, kind: &str) -> Device {
        let device = self.absent_device(kind).await;
        device.comes_back().await;
        device
    }

    /// Creates one more device of this user, without connecting it.
    pub async fn absent_device(&self, kind: &str) -> Device {
        let who = sign_up(&self.fixture, &self.number).await;
        Device::new(&self.fixture, &format!("{}'s {kind}", self.name), who)
    }

    /// Signs this user in on a device that another user has used before.
    pub async fn takes(&self, device: &Device) -> Device {
        let id = device.who.device_id;
        // Signing in on an existing device requires its current token.
        let api = self.fixture.api().signed_in(device.who.clone());
        let signed_in = api.sign_in(&self.number, CODE, id).await;
        let signed_in = signed_in.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let who = DeviceCredentials {
            user_id: signed_in.user_id,
            device_id: id,
            token: signed_in.token,
        };
        let taken = Device::new(&self.fixture, &format!("{}'s now", self.name), who);
        taken.comes_back().await;
        taken
    }
}

impl ScenarioFixture {
    /// Creates a user with a connected phone.
    pub async fn person(&self, name: &str) -> ScenarioUser {
        let person = self.absent(name).await;
        person.phone.comes_back().await;
        person
    }

    /// Creates a user with a phone that is not connected.
    pub async fn absent(&self, name: &str) -> ScenarioUser {
        ScenarioUser::new(self, name, self.number()).await
    }
}

/// Registers a new device and signs in the user of this number on it.
async fn sign_up(world: &ScenarioFixture, number: &str) -> DeviceCredentials {
    let signed_in = gimlet_kit::sign_in(&world.api(), number).await;
    signed_in.unwrap_or_else(|error| panic!("no sign-in: {error}"))
}
