//! Users and tokens of the built-in business service.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::id::{DeviceId, UserId};
use crate::page::ListPage;
use crate::store::StoreError;
use crate::time::UnixTimestamp;

/// A user of the built-in business service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserAccount {
    /// The user.
    pub user: UserId,
    /// The phone number it signs in with; never shown to other users.
    pub phone: String,
    /// The displayed name.
    pub nickname: String,
    /// gim's `sex`: 0 unknown, 1 male, 2 female.
    pub sex: i32,
    /// URL of the picture.
    pub avatar_url: String,
    /// Application data of the client.
    pub extra: String,
    /// Time of creation.
    pub created_at: UnixTimestamp,
    /// Time of the last change.
    pub updated_at: UnixTimestamp,
}

/// A user to be created if the phone number is new.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Id of the user if it is created, reserved from [`SeqStore`](crate::store::SeqStore).
    pub user: UserId,
    /// The phone number.
    pub phone: String,
    /// Time of creation.
    pub at: UnixTimestamp,
}

/// New values of a user's fields; `None` leaves one as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountChange {
    /// A new name.
    pub nickname: Option<String>,
    /// A new sex.
    pub sex: Option<i32>,
    /// A new picture.
    pub avatar_url: Option<String>,
    /// New data.
    pub extra: Option<String>,
}

/// A stored sign-in token: only its hash is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// Time at which it expires.
    pub expires_at: UnixTimestamp,
}

/// A ban of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserBan {
    /// The reason, for operators.
    pub reason: String,
    /// Time of the ban.
    pub at: UnixTimestamp,
}

/// Matching of nicknames in a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NicknameMatch {
    /// Nicknames equal to the key.
    Equal,
    /// Nicknames that begin with the key.
    Begin,
}

/// Store of users and tokens.
#[async_trait]
pub trait AccountStore: Debug + Send + Sync + 'static {
    /// Returns the user with this phone number, creating it if there is none, and whether it was
    /// created. Two callers with the same new number get the same user.
    async fn find_or_create(&self, new: &NewAccount) -> Result<(UserAccount, bool), StoreError>;

    /// Returns the user with this phone number.
    async fn by_phone(&self, phone: &str) -> Result<Option<UserAccount>, StoreError>;

    /// Returns these users in the order of the request, without unknown ones.
    async fn get(&self, users: &[UserId]) -> Result<Vec<UserAccount>, StoreError>;

    /// Changes fields of a user; `false` if there is no such user.
    async fn update(
        &self,
        user: UserId,
        change: &AccountChange,
        at: UnixTimestamp,
    ) -> Result<bool, StoreError>;

    /// Returns up to `limit` users above `after`, ascending by id, whose phone number equals `key`
    /// or whose nickname matches it as `names` tells. For a nickname that many users share, a
    /// backend may examine the first 10,000 only.
    async fn search(
        &self,
        key: &str,
        names: NicknameMatch,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<ListPage<UserAccount>, StoreError>;

    /// Sets this user's token on this device. Tokens of other users on the same device stay,
    /// because a device id proves nothing. With `alone`, for a caller that has proved to hold the
    /// device, they are removed in the same step. Returns the users whose tokens were removed.
    async fn put_token(
        &self,
        user: UserId,
        device: DeviceId,
        token: &TokenRecord,
        alone: bool,
    ) -> Result<Vec<UserId>, StoreError>;

    /// Returns this user's token on this device; `None` while the user is banned.
    async fn token(
        &self,
        user: UserId,
        device: DeviceId,
    ) -> Result<Option<TokenRecord>, StoreError>;

    /// Removes this user's token on this device, if there is one.
    async fn revoke_token(&self, user: UserId, device: DeviceId) -> Result<(), StoreError>;

    /// Bans the user, or replaces its ban, whether it has an account or not. From then on
    /// [`token`](Self::token) returns none of its tokens, also none that is set later.
    async fn ban(&self, user: UserId, ban: &UserBan) -> Result<(), StoreError>;

    /// Lifts the user's ban, if there is one: its tokens are valid again.
    async fn lift_ban(&self, user: UserId) -> Result<(), StoreError>;

    /// Returns the user's ban.
    async fn ban_of(&self, user: UserId) -> Result<Option<UserBan>, StoreError>;
}
