//! Users that JWTs name.

use async_trait::async_trait;
use gimlet_core::id::UserId;
use gimlet_core::store::{
    JwtProfile, JwtProfileChange, JwtRevocation, JwtUser, JwtUserStore, RevokedJwt, StoreError,
};
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::store;

use crate::error::EngineError;
use crate::rows::RowView;
use crate::space::SpaceEffect;
use crate::store::SledStore;
use crate::txn::WriteTransaction;
use crate::{key, record};

fn read(user: UserId, row: store::JwtUser) -> Result<JwtUser, EngineError> {
    let profile = row.created_ms.map(|created_ms| JwtProfile {
        nickname: row.nickname,
        avatar_url: row.avatar_url,
        created_at: UnixTimestamp(created_ms),
        updated_at: UnixTimestamp(row.updated_ms),
    });
    let revoked = row.revoked.into_iter().map(|it| {
        let id = it.id.as_ref().try_into();
        Ok(RevokedJwt {
            id: id.map_err(|_| EngineError::Corrupt("the hash of a token's id is not 32 bytes"))?,
            expires_at: UnixTimestamp(it.expires_ms),
        })
    });
    Ok(JwtUser {
        user,
        profile,
        issued_before: row.issued_before_ms.map(UnixTimestamp),
        revoked: revoked.collect::<Result<_, EngineError>>()?,
    })
}

fn written(user: JwtUser) -> store::JwtUser {
    let revoked = user.revoked.into_iter().map(|it| store::RevokedJwt {
        id: it.id.to_vec().into(),
        expires_ms: record::ms(it.expires_at),
    });
    let mut row = store::JwtUser {
        issued_before_ms: user.issued_before.map(record::ms),
        revoked: revoked.collect(),
        ..store::JwtUser::default()
    };
    if let Some(profile) = user.profile {
        row.nickname = profile.nickname;
        row.avatar_url = profile.avatar_url;
        row.created_ms = Some(record::ms(profile.created_at));
        row.updated_ms = record::ms(profile.updated_at);
    }
    row
}

fn find(rows: &RowView<'_>, user: UserId) -> Result<Option<JwtUser>, EngineError> {
    let row: Option<store::JwtUser> = rows.get(&key::jwt_user(user))?;
    row.map(|row| read(user, row)).transpose()
}

fn change(
    txn: &mut WriteTransaction<'_>,
    user: UserId,
    change: impl FnOnce(&mut JwtUser),
) -> Result<(), EngineError> {
    let mut stored = find(&txn.rows(), user)?.unwrap_or_else(|| JwtUser::new(user));
    change(&mut stored);
    txn.put(&key::jwt_user(user), &written(stored))
}

#[async_trait]
impl JwtUserStore for SledStore {
    async fn get(&self, users: &[UserId]) -> Result<Vec<JwtUser>, StoreError> {
        let users = users.to_vec();
        let read = self.read("jwt_user.get", move |rows| {
            let found = users.iter().map(|user| find(rows, *user));
            found.filter_map(Result::transpose).collect()
        });
        read.await
    }

    async fn set_profile(
        &self,
        user: UserId,
        profile: &JwtProfileChange,
        at: UnixTimestamp,
    ) -> Result<(), StoreError> {
        let profile = profile.clone();
        let set = self.change("jwt_user.set_profile", SpaceEffect::Adds, move |txn| {
            change(txn, user, |it| it.set_profile(&profile, at))
        });
        set.await
    }

    async fn revoke(
        &self,
        user: UserId,
        revocation: JwtRevocation,
        now: UnixTimestamp,
    ) -> Result<(), StoreError> {
        let revoke = self.change("jwt_user.revoke", SpaceEffect::Sets, move |txn| {
            change(txn, user, |it| it.revoke(revocation, now))
        });
        revoke.await
    }
}
