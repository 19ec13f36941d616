//! A user with a phone, and possibly more devices.

use gimlet_client::{Credentials, Receiver};

use super::{Addressee, Device, World};

/// Sign-in code that a server on loopback accepts.
const CODE: &str = "000000";

/// A user of a scenario.
#[derive(Debug)]
pub struct Person {
    /// The user's id.
    pub id: i64,
    /// The user's name.
    pub name: String,
    /// The first device.
    pub phone: Device,
    number: String,
    world: World,
}

impl Person {
    pub(crate) async fn new(world: &World, name: &str, number: String) -> Self {
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
            world: world.clone(),
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
        let who = sign_up(&self.world, &self.number).await;
        Device::new(&self.world, &format!("{}'s {kind}", self.name), who)
    }

    /// Signs this user in on a device that another user has used before.
    pub async fn takes(&self, device: &Device) -> Device {
        let id = device.who.device_id;
        // Signing in on an existing device requires its current token.
        let api = self.world.api().signed_in(device.who.clone());
        let signed_in = api.sign_in(&self.number, CODE, id).await;
        let signed_in = signed_in.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let who = Credentials {
            user_id: signed_in.user_id,
            device_id: id,
            token: signed_in.token,
        };
        let taken = Device::new(&self.world, &format!("{}'s now", self.name), who);
        taken.comes_back().await;
        taken
    }
}

impl Addressee for Person {
    fn receiver(&self) -> Receiver {
        Receiver::User(self.id)
    }
}

/// Registers a new device and signs in the user of this number on it.
async fn sign_up(world: &World, number: &str) -> Credentials {
    let api = world.api();
    let device_id = api.register_device("test").await;
    let device_id = device_id.unwrap_or_else(|error| panic!("no device: {error}"));
    let signed_in = api.sign_in(number, CODE, device_id).await;
    let signed_in = signed_in.unwrap_or_else(|error| panic!("no sign-in: {error}"));
    Credentials {
        user_id: signed_in.user_id,
        device_id,
        token: signed_in.token,
    }
}
