//! Addresses of devices at push services: one row for each, and an index from its fingerprint to its
//! owner.

use std::collections::BTreeSet;

use async_trait::async_trait;
use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::store::{PushAddress, PushRegistration, PushTokenStore, StoreError};
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::store::push_token::Provider;
use gimlet_proto::store::{PushOwner, PushToken};

use crate::error::EngineError;
use crate::rows::RowView;
use crate::space::SpaceEffect;
use crate::store::SledStore;
use crate::txn::WriteTransaction;
use crate::{key, record};

fn row(registration: &PushRegistration) -> PushToken {
    let mut row = PushToken {
        token: registration.address.token().to_owned(),
        shows_content: registration.shows_content,
        locale: registration.locale.clone(),
        registered_ms: record::ms(registration.registered_at),
        ..PushToken::default()
    };
    match &registration.address {
        PushAddress::Apns {
            token: _,
            topic,
            is_sandbox,
        } => {
            row.set_provider(Provider::Apns);
            row.topic.clone_from(topic);
            row.sandbox = *is_sandbox;
        }
        PushAddress::Fcm { token: _ } => row.set_provider(Provider::Fcm),
        PushAddress::WebPush {
            endpoint: _,
            public_key,
            auth_secret,
        } => {
            row.set_provider(Provider::Webpush);
            row.public_key = public_key.clone().into();
            row.auth_secret = auth_secret.clone().into();
        }
    }
    row
}

/// Converts a row back; verify reports a row for which this fails.
pub(crate) fn registration(
    device: DeviceId,
    row: PushToken,
) -> Result<PushRegistration, EngineError> {
    let address = match row.provider() {
        Provider::Apns => PushAddress::Apns {
            token: row.token,
            topic: row.topic,
            is_sandbox: row.sandbox,
        },
        Provider::Fcm => PushAddress::Fcm { token: row.token },
        Provider::Webpush => PushAddress::WebPush {
            endpoint: row.token,
            public_key: row.public_key.into(),
            auth_secret: row.auth_secret.into(),
        },
        Provider::Unknown => {
            return Err(EngineError::Corrupt("a push address has no provider"));
        }
    };
    Ok(PushRegistration {
        device,
        address,
        shows_content: row.shows_content,
        locale: row.locale,
        registered_at: UnixTimestamp(row.registered_ms),
    })
}

fn held(
    rows: &RowView<'_>,
    user: UserId,
    device: DeviceId,
) -> Result<Option<PushRegistration>, EngineError> {
    let row: Option<PushToken> = rows.get(&key::push_token(user, device))?;
    row.map(|row| registration(device, row)).transpose()
}

fn registrations_of(
    rows: &RowView<'_>,
    user: UserId,
) -> Result<Vec<PushRegistration>, EngineError> {
    let found = rows.scan(&key::push_tokens(user), None).map(|found| {
        let (name, value) = found?;
        let row: PushToken = rows.decode(&name, &value)?;
        registration(record::key_device(&name)?, row)
    });
    found.collect()
}

fn remove(
    txn: &mut WriteTransaction<'_>,
    user: UserId,
    held: &PushRegistration,
) -> Result<(), EngineError> {
    txn.remove(&key::push_owner(&held.address.fingerprint()))?;
    txn.remove(&key::push_token(user, held.device))
}

fn put(
    txn: &mut WriteTransaction<'_>,
    user: UserId,
    registration: &PushRegistration,
    max_devices: usize,
) -> Result<(), EngineError> {
    let device = registration.device;
    if let Some(old) = held(&txn.rows(), user, device)? {
        remove(txn, user, &old)?;
    }
    let owner_key = key::push_owner(&registration.address.fingerprint());
    if let Some(owner) = txn.get::<PushOwner>(&owner_key)? {
        let holder = record::user(owner.user)?;
        txn.remove(&key::push_token(holder, record::device(owner.device)?))?;
    }
    let owner = PushOwner {
        user: user.get(),
        device: device.get(),
    };
    txn.put(&owner_key, &owner)?;
    txn.put(&key::push_token(user, device), &row(registration))?;
    let mut all = registrations_of(&txn.rows(), user)?;
    all.sort_by_key(|it| (it.registered_at, it.device));
    let surplus = all.len().saturating_sub(max_devices);
    for oldest in all.iter().take(surplus) {
        remove(txn, user, oldest)?;
    }
    Ok(())
}

#[async_trait]
impl PushTokenStore for SledStore {
    async fn put(
        &self,
        user: UserId,
        registration: &PushRegistration,
        max_devices: usize,
    ) -> Result<(), StoreError> {
        let registration = registration.clone();
        let change = self.change("push_token.put", SpaceEffect::Adds, move |txn| {
            put(txn, user, &registration, max_devices)
        });
        change.await
    }

    async fn of(&self, users: &[UserId]) -> Result<Vec<(UserId, PushRegistration)>, StoreError> {
        let users: BTreeSet<UserId> = users.iter().copied().collect();
        let read = self.read("push_token.of", move |rows| {
            let mut found = Vec::new();
            for user in users {
                let held = registrations_of(rows, user)?.into_iter();
                found.extend(held.map(|it| (user, it)));
            }
            Ok(found)
        });
        read.await
    }

    async fn remove(
        &self,
        user: UserId,
        device: DeviceId,
        only: Option<[u8; 32]>,
    ) -> Result<bool, StoreError> {
        let change = self.change("push_token.remove", SpaceEffect::Removes, move |txn| {
            let Some(held) = held(&txn.rows(), user, device)? else {
                return Ok(false);
            };
            let is_meant = only.is_none_or(|it| held.address.fingerprint() == it);
            if is_meant {
                remove(txn, user, &held)?;
            }
            Ok(is_meant)
        });
        change.await
    }
}
