//! Users and tokens of the built-in business service.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::id::{DeviceId, UserId};
use crate::page::Page;
use crate::store::StoreError;
use crate::time::Timestamp;

/// A user of the built-in business service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub user: UserId,
    /// The phone number it signs in with; shown to nobody.
    pub phone: String,
    /// The displayed name.
    pub nickname: String,
    /// gim's `sex`: 0 unknown, 1 male, 2 female.
    pub sex: i32,
    /// Where the picture is.
    pub avatar_url: String,
    /// Free data of the client.
    pub extra: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A user to be made if the phone number is new.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// The id it gets if it is new, reserved from [`SeqStore`](crate::store::SeqStore).
    pub user: UserId,
    /// The phone number.
    pub phone: String,
    /// When.
    pub at: Timestamp,
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

/// A sign-in token as it is kept: only its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// When it stops being worth anything.
    pub expires_at: Timestamp,
}

/// Names that a search finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Those that are the key.
    Equal,
    /// Those that begin with the key.
    Begin,
}

/// Users and tokens.
#[async_trait]
pub trait AccountStore: Debug + Send + Sync + 'static {
    /// The user of this phone number, made now if there is none; and whether it was made. Two
    /// callers with the same new number get the same user.
    async fn find_or_create(&self, new: &NewAccount) -> Result<(Account, bool), StoreError>;

    /// The user of this phone number.
    async fn by_phone(&self, phone: &str) -> Result<Option<Account>, StoreError>;

    /// These users, in the order asked; an unknown one is left out.
    async fn get(&self, users: &[UserId]) -> Result<Vec<Account>, StoreError>;

    /// Changes fields of a user; `false` if there is no such user.
    async fn update(
        &self,
        user: UserId,
        change: &AccountChange,
        at: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Up to `limit` users above `after` whose phone number equals `key` or whose nickname equals it
    /// or begins with it, as `names` says, ascending by id. Of a name that very many share, a
    /// backend may look at the first 10,000 only.
    async fn search(
        &self,
        key: &str,
        names: Names,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Page<Account>, StoreError>;

    /// Sets this user's token on this device. Tokens of other users on the same device stay, because
    /// a device id proves nothing; with `alone`, for a caller who has proved to hold the device,
    /// they go in the same step. Returns the users whose tokens went.
    async fn put_token(
        &self,
        user: UserId,
        device: DeviceId,
        token: &TokenRecord,
        alone: bool,
    ) -> Result<Vec<UserId>, StoreError>;

    /// This user's token on this device.
    async fn token(
        &self,
        user: UserId,
        device: DeviceId,
    ) -> Result<Option<TokenRecord>, StoreError>;

    /// Removes this user's token on this device; nothing happens if there is none.
    async fn revoke_token(&self, user: UserId, device: DeviceId) -> Result<(), StoreError>;
}
