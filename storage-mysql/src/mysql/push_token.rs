//! Addresses of devices at push services.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::store::{PushAddress, PushProvider, PushRegistration, PushTokenStore, StoreError};
use sqlx::Row as _;
use sqlx::mysql::MySqlRow;

use super::engine::{MysqlEngine, StatementEffect, WorkPace};
use super::session::{MysqlSession, bytes, device as device_id, text, time, user as user_id};
use crate::error::EngineError;

const fn provider_number(provider: PushProvider) -> u8 {
    match provider {
        PushProvider::Apns => 1,
        PushProvider::Fcm => 2,
        PushProvider::WebPush => 3,
    }
}

/// Start of the query for the registrations of some users; their ids and `)` follow. `decode` relies
/// on the order of the columns.
const SELECT: &str = "SELECT device_id, provider, token, topic, sandbox, public_key, auth_secret, \
                      shows_content, locale, registered_at, user_id FROM push_token \
                      WHERE user_id IN (";

fn decode(row: &MySqlRow) -> Result<(UserId, PushRegistration), EngineError> {
    let token = text(row, 2)?;
    let address = match row.try_get::<u8, _>(1)? {
        1 => PushAddress::Apns {
            token,
            topic: text(row, 3)?,
            is_sandbox: row.try_get::<u8, _>(4)? == 1,
        },
        2 => PushAddress::Fcm { token },
        3 => PushAddress::WebPush {
            endpoint: token,
            public_key: bytes(row, 5)?,
            auth_secret: bytes(row, 6)?,
        },
        _ => return Err(EngineError::Corrupt("a push address has no provider")),
    };
    let registration = PushRegistration {
        device: device_id(row, 0)?,
        address,
        shows_content: row.try_get::<u8, _>(7)? == 1,
        locale: text(row, 8)?,
        registered_at: time(row, 9)?,
    };
    Ok((user_id(row, 10)?, registration))
}

async fn registrations_of(
    session: &mut MysqlSession,
    users: &[u64],
) -> Result<Vec<(UserId, PushRegistration)>, EngineError> {
    let rows = session.rows_in(SELECT, users, ")").await?;
    let mut found: Vec<_> = rows.iter().map(decode).collect::<Result<_, _>>()?;
    found.sort_by_key(|(user, it)| (*user, it.device));
    Ok(found)
}

async fn delete(
    session: &mut MysqlSession,
    user: UserId,
    device: DeviceId,
) -> Result<(), EngineError> {
    let sql = "DELETE FROM push_token WHERE user_id = ? AND device_id = ?";
    let delete = sqlx::query(sql).bind(user.get()).bind(device.get());
    session.run(delete).await.map(|_| ())
}

/// Inserts the registration, or moves the row of the same address to it.
async fn upsert(
    session: &mut MysqlSession,
    user: UserId,
    registration: &PushRegistration,
) -> Result<(), EngineError> {
    let address = &registration.address;
    let (topic, is_sandbox) = match address {
        PushAddress::Apns {
            topic, is_sandbox, ..
        } => (topic.as_str(), *is_sandbox),
        PushAddress::Fcm { .. } | PushAddress::WebPush { .. } => ("", false),
    };
    let (public_key, auth_secret) = match address {
        PushAddress::WebPush {
            public_key,
            auth_secret,
            ..
        } => (public_key.as_slice(), auth_secret.as_slice()),
        PushAddress::Apns { .. } | PushAddress::Fcm { .. } => (&[][..], &[][..]),
    };
    let sql = "INSERT INTO push_token (user_id, device_id, address_hash, provider, token, topic, \
               sandbox, public_key, auth_secret, shows_content, locale, registered_at) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE \
               user_id = VALUES(user_id), device_id = VALUES(device_id), topic = VALUES(topic), \
               sandbox = VALUES(sandbox), public_key = VALUES(public_key), \
               auth_secret = VALUES(auth_secret), shows_content = VALUES(shows_content), \
               locale = VALUES(locale), registered_at = VALUES(registered_at)";
    let fingerprint = address.fingerprint();
    let insert = sqlx::query(sql)
        .bind(user.get())
        .bind(registration.device.get())
        .bind(fingerprint.as_slice())
        .bind(provider_number(address.provider()))
        .bind(address.token().as_bytes())
        .bind(topic.as_bytes())
        .bind(u8::from(is_sandbox))
        .bind(public_key)
        .bind(auth_secret)
        .bind(u8::from(registration.shows_content))
        .bind(registration.locale.as_bytes())
        .bind(registration.registered_at.0);
    session.run(insert).await.map(|_| ())
}

async fn put(
    session: &mut MysqlSession,
    user: UserId,
    registration: &PushRegistration,
    max_devices: usize,
) -> Result<(), EngineError> {
    // The user's row is locked first: registrations of the same user then run one after another, and
    // each counts the devices of those before it.
    let sql = "INSERT INTO push_user (user_id) VALUES (?) \
               ON DUPLICATE KEY UPDATE user_id = VALUES(user_id)";
    session.run(sqlx::query(sql).bind(user.get())).await?;
    // The user's old row for the device is deleted before the upsert, which can then meet only one
    // existing row: that of another user or device with the same address. The upsert moves that row
    // here, and so takes the address from its former owner.
    delete(session, user, registration.device).await?;
    upsert(session, user, registration).await?;
    let mut all = registrations_of(session, &[user.get()]).await?;
    all.sort_by_key(|(_, it)| (it.registered_at, it.device));
    let surplus = all.len().saturating_sub(max_devices);
    for (_, oldest) in all.iter().take(surplus) {
        delete(session, user, oldest.device).await?;
    }
    Ok(())
}

#[async_trait]
impl PushTokenStore for MysqlEngine {
    async fn put(
        &self,
        user: UserId,
        registration: &PushRegistration,
        max_devices: usize,
    ) -> Result<(), StoreError> {
        let registration = Arc::new(registration.clone());
        self.change("push_token.put", WorkPace::Prompt, move |session| {
            let registration = Arc::clone(&registration);
            async move { put(session, user, &registration, max_devices).await }.boxed()
        })
        .await
    }

    async fn of(&self, users: &[UserId]) -> Result<Vec<(UserId, PushRegistration)>, StoreError> {
        let mut ids: Vec<u64> = users.iter().map(|it| it.get()).collect();
        ids.sort_unstable();
        ids.dedup();
        self.once("push_token.of", StatementEffect::Read, move |session| {
            let ids = ids.clone();
            async move { registrations_of(session, &ids).await }.boxed()
        })
        .await
    }

    async fn remove(
        &self,
        user: UserId,
        device: DeviceId,
        only: Option<[u8; 32]>,
    ) -> Result<bool, StoreError> {
        let remove = self.change("push_token.remove", WorkPace::Prompt, move |session| {
            async move {
                let sql = "DELETE FROM push_token WHERE user_id = ? AND device_id = ? \
                           AND address_hash = COALESCE(?, address_hash)";
                let only = only.as_ref().map(<[u8; 32]>::as_slice);
                let delete = sqlx::query(sql)
                    .bind(user.get())
                    .bind(device.get())
                    .bind(only);
                Ok(session.run(delete).await?.rows_affected() > 0)
            }
            .boxed()
        });
        remove.await
    }
}
