//! Users that JWTs of the backend name, and the revocation of such tokens.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::id::UserId;
use crate::store::StoreError;
use crate::time::UnixTimestamp;

/// Largest number of revoked ids of tokens that a user's record holds. One more revokes all tokens
/// issued so far instead, so that a record cannot grow without bound.
pub const MAX_REVOKED_JWTS: usize = 64;

/// A user with its JWTs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtUser {
    /// The user.
    pub user: UserId,
    /// Profile of the last tokens; `None` if no accepted token has named the user.
    pub profile: Option<JwtProfile>,
    /// Tokens issued at this time or before are revoked, and so are tokens that do not tell when
    /// they were issued.
    pub issued_before: Option<UnixTimestamp>,
    /// Single tokens that are revoked, in the order of their revocation.
    pub revoked: Vec<RevokedJwt>,
}

/// Profile of a user that only JWTs name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtProfile {
    /// The displayed name.
    pub nickname: String,
    /// URL of the picture.
    pub avatar_url: String,
    /// Time of the first accepted token.
    pub created_at: UnixTimestamp,
    /// Time of the last change.
    pub updated_at: UnixTimestamp,
}

/// A revoked token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevokedJwt {
    /// SHA-256 of the token's id (`jti`).
    pub id: [u8; 32],
    /// Time from which the token is invalid without a revocation, and this entry is not needed.
    pub expires_at: UnixTimestamp,
}

/// The profile that a token claims; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JwtProfileChange {
    /// The displayed name.
    pub nickname: Option<String>,
    /// URL of the picture.
    pub avatar_url: Option<String>,
}

/// A revocation of a user's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtRevocation {
    /// One token.
    Token(RevokedJwt),
    /// All tokens issued at this time or before.
    IssuedBefore(UnixTimestamp),
}

impl JwtUser {
    /// Returns the record of a user without tokens.
    #[must_use]
    pub const fn new(user: UserId) -> Self {
        Self {
            user,
            profile: None,
            issued_before: None,
            revoked: Vec::new(),
        }
    }

    /// Changes the profile; it begins to exist with the first change.
    pub fn set_profile(&mut self, change: &JwtProfileChange, at: UnixTimestamp) {
        let profile = self.profile.get_or_insert_with(|| JwtProfile {
            nickname: String::new(),
            avatar_url: String::new(),
            created_at: at,
            updated_at: at,
        });
        if let Some(nickname) = &change.nickname {
            nickname.clone_into(&mut profile.nickname);
        }
        if let Some(avatar_url) = &change.avatar_url {
            avatar_url.clone_into(&mut profile.avatar_url);
        }
        profile.updated_at = at;
    }

    /// Revokes tokens. Entries of tokens that have expired at `now` are removed.
    pub fn revoke(&mut self, revocation: JwtRevocation, now: UnixTimestamp) {
        self.revoked.retain(|it| it.expires_at > now);
        match revocation {
            JwtRevocation::Token(token) => {
                self.revoked.retain(|it| it.id != token.id);
                self.revoked.push(token);
                if self.revoked.len() > MAX_REVOKED_JWTS {
                    self.revoked.clear();
                    self.issued_before = self.issued_before.max(Some(now));
                }
            }
            JwtRevocation::IssuedBefore(at) => {
                self.issued_before = self.issued_before.max(Some(at));
            }
        }
    }
}

/// Store of users that JWTs name.
#[async_trait]
pub trait JwtUserStore: Debug + Send + Sync + 'static {
    /// Returns the records of these users in the order of the request, without those that have
    /// none.
    async fn get(&self, users: &[UserId]) -> Result<Vec<JwtUser>, StoreError>;

    /// Changes a user's profile as [`JwtUser::set_profile`] does, durably.
    async fn set_profile(
        &self,
        user: UserId,
        change: &JwtProfileChange,
        at: UnixTimestamp,
    ) -> Result<(), StoreError>;

    /// Revokes tokens of a user as [`JwtUser::revoke`] does, durably. Concurrent revocations are
    /// all kept.
    async fn revoke(
        &self,
        user: UserId,
        revocation: JwtRevocation,
        now: UnixTimestamp,
    ) -> Result<(), StoreError>;
}
