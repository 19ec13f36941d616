//! The decision about a token: its signature, its claims, its revocation, and the user's profile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::claims::{ClaimedUser, JwtClaims, JwtPolicy, JwtVerifier};
use crate::business::{ProfileObserver, UserInfo};
use crate::error::RequestRefusal;
use crate::id::{DeviceId, UserId};
use crate::message::UserProfile;
use crate::store::{
    AccountStore, JwtProfileChange, JwtRevocation, JwtUser, JwtUserStore, RevokedJwt, StoreError,
    StoreSet,
};
use crate::text_limits::{self, URL_MAX_BYTES};
use crate::time::{TimeSource, UnixTimestamp};

/// Longest id of a token, in bytes.
const ID_MAX_BYTES: usize = 255;

/// Tokens of a user that are to be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtSelection {
    /// The token with this id (`jti`).
    Id(String),
    /// Tokens issued at this time or before (`iat`), and those that do not tell when they were issued.
    IssuedBefore(UnixTimestamp),
}

/// An accepted token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedJwt {
    /// The user.
    pub user: UserId,
    /// The only device that may use it, if it names one.
    pub device: Option<DeviceId>,
    /// Remaining validity.
    pub left: Duration,
}

/// Decides about tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct JwtAuthority {
    verifier: Arc<dyn JwtVerifier>,
    users: Arc<dyn JwtUserStore>,
    /// Bans are kept beside the accounts, for users without an account as well.
    bans: Arc<dyn AccountStore>,
    clock: Arc<dyn TimeSource>,
    policy: Arc<JwtPolicy>,
    /// Caches that may hold an earlier profile of a user, or the fact that there is none.
    observers: Arc<Mutex<Vec<Arc<dyn ProfileObserver>>>>,
}

impl JwtAuthority {
    /// Creates the authority over the users and bans of these stores.
    #[must_use]
    pub fn new(
        verifier: Arc<dyn JwtVerifier>,
        stores: &StoreSet,
        clock: Arc<dyn TimeSource>,
        policy: JwtPolicy,
    ) -> Self {
        Self {
            verifier,
            users: Arc::clone(&stores.jwt_user),
            bans: Arc::clone(&stores.account),
            clock,
            policy: Arc::new(policy),
            observers: Arc::default(),
        }
    }

    /// Reports users whose profiles change to the observer.
    pub(super) fn observe(&self, observer: Arc<dyn ProfileObserver>) {
        self.observers().push(observer);
    }

    // A panic elsewhere cannot leave the list half-written, so poisoning is ignored.
    fn observers(&self) -> MutexGuard<'_, Vec<Arc<dyn ProfileObserver>>> {
        self.observers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts the token, or refuses it. The profile that it claims becomes the user's.
    ///
    /// # Errors
    /// [`RequestRefusal::Unauthorized`] for a token that is wrong, expired or revoked; other
    /// refusals if it could not be checked.
    pub async fn check(&self, token: &str) -> Result<CheckedJwt, RequestRefusal> {
        let claims = self.verifier.verify(token).await?;
        let now = self.clock.now();
        let left = self.policy.judge(&claims, now)?;
        text_limits::name_if("the claim name", claims.nickname.as_deref())?;
        let avatar = claims.avatar_url.as_deref();
        text_limits::text_if("the claim avatar", avatar, URL_MAX_BYTES)?;
        let stored = self.users.get(&[claims.user]).await?.pop();
        if stored
            .as_ref()
            .is_some_and(|it| is_revoked(it, &claims, token))
        {
            return Err(RequestRefusal::Unauthorized("the JWT was revoked"));
        }
        if self.bans.ban_of(claims.user).await?.is_some() {
            return Err(RequestRefusal::Banned);
        }
        self.keep_profile(stored.as_ref(), &claims, now).await?;
        Ok(CheckedJwt {
            user: claims.user,
            device: claims.device,
            left,
        })
    }

    /// Returns the user that a token names before it is checked; `None` if it is malformed.
    #[must_use]
    pub fn claimed(&self, token: &str) -> Option<ClaimedUser> {
        self.verifier.claimed(token)
    }

    /// Revokes tokens of the user. Every node refuses them from the answer on, because a check reads
    /// the store.
    ///
    /// # Errors
    /// [`RequestRefusal::BadRequest`] for an id that no token can have, and for a time in the future:
    /// tokens that are issued until then would be refused without a reason that their holders see.
    pub async fn revoke(&self, user: UserId, which: &JwtSelection) -> Result<(), RequestRefusal> {
        match which {
            JwtSelection::Id(id) => {
                if id.is_empty() {
                    return Err(RequestRefusal::bad(
                        "jti is empty; set it to the claim jti of the token to revoke, or set \
                         issued_before to revoke all tokens up to a time",
                    ));
                }
                text_limits::text("jti", id, ID_MAX_BYTES)?;
                self.revoke_hash(user, hash(id)).await
            }
            JwtSelection::IssuedBefore(at) => {
                let now = self.clock.now();
                if *at > now {
                    return Err(RequestRefusal::bad(
                        "issued_before is in the future; it must be a time until now, in seconds \
                         since 1970",
                    ));
                }
                let revocation = JwtRevocation::IssuedBefore(*at);
                Ok(self.users.revoke(user, revocation, now).await?)
            }
        }
    }

    /// Revokes a token that its holder gives back. A token without an id is recognised by its signed
    /// part, which nobody but the issuer can write in another way.
    pub async fn sign_out(&self, token: &str) -> Result<(), RequestRefusal> {
        let claims = self.verifier.verify(token).await?;
        self.revoke_hash(claims.user, token_hash(&claims, token))
            .await
    }

    async fn revoke_hash(&self, user: UserId, id: [u8; 32]) -> Result<(), RequestRefusal> {
        let now = self.clock.now();
        // No accepted token expires later.
        let longest = self.policy.max_lifetime.saturating_add(self.policy.leeway);
        let token = RevokedJwt {
            id,
            expires_at: now.after(longest).after(self.policy.leeway),
        };
        let revocation = JwtRevocation::Token(token);
        Ok(self.users.revoke(user, revocation, now).await?)
    }

    /// Returns those of these users that a token has named, or all of them if the policy treats
    /// every id as a user.
    pub(super) async fn users(&self, users: &[UserId]) -> Result<Vec<UserInfo>, StoreError> {
        let stored = self.users.get(users).await?;
        let mut found: Vec<_> = stored.into_iter().filter_map(UserInfo::of_jwt).collect();
        if self.policy.every_user {
            let named: Vec<_> = found.iter().map(|it| it.user).collect();
            let others = users.iter().filter(|user| !named.contains(user));
            found.extend(others.map(|user| unnamed(*user)));
        }
        Ok(found)
    }

    async fn keep_profile(
        &self,
        stored: Option<&JwtUser>,
        claims: &JwtClaims,
        now: UnixTimestamp,
    ) -> Result<(), StoreError> {
        let profile = stored.and_then(|it| it.profile.as_ref());
        let is_kept = profile.is_some_and(|it| {
            let same =
                |claim: &Option<String>, kept: &str| claim.as_deref().unwrap_or(kept) == kept;
            same(&claims.nickname, &it.nickname) && same(&claims.avatar_url, &it.avatar_url)
        });
        if is_kept {
            return Ok(());
        }
        let change = JwtProfileChange {
            nickname: claims.nickname.clone(),
            avatar_url: claims.avatar_url.clone(),
        };
        self.users.set_profile(claims.user, &change, now).await?;
        // After the store: a cache that is filled between the two steps reads the new profile.
        let observers = self.observers().clone();
        for observer in observers {
            observer.profile_changed(claims.user).await;
        }
        Ok(())
    }
}

fn is_revoked(stored: &JwtUser, claims: &JwtClaims, token: &str) -> bool {
    let by_time = stored
        .issued_before
        .is_some_and(|before| claims.issued_at.is_none_or(|at| at <= before));
    if by_time || stored.revoked.is_empty() {
        return by_time;
    }
    let hash = token_hash(claims, token);
    stored.revoked.iter().any(|it| it.id == hash)
}

/// Returns the hash by which a token is revoked: of its id, or of its signed part. The signature itself
/// does not count, because some algorithms have several for the same claims.
fn token_hash(claims: &JwtClaims, token: &str) -> [u8; 32] {
    let signed = || token.rsplit_once('.').map_or(token, |(signed, _)| signed);
    hash(claims.id.as_deref().unwrap_or_else(signed))
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn unnamed(user: UserId) -> UserInfo {
    UserInfo {
        user,
        profile: UserProfile::default(),
        sex: 0,
        created_at: UnixTimestamp(0),
        updated_at: UnixTimestamp(0),
    }
}
