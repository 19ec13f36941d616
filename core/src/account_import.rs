//! Imports many users at once, for a backend that moves its users to gimlet.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::accounts::AccountService;
use crate::business::{check_change, check_phone};
use crate::error::RequestRefusal;
use crate::id::UserId;
use crate::store::AccountChange;

/// Users that are stored at the same time, so that a storage can commit them together.
const CONCURRENCY: usize = 32;

/// A user to import.
#[derive(Clone, Debug)]
pub struct AccountImport {
    /// The phone number, which identifies the user.
    pub phone: String,
    /// Its profile; fields that are not set stay as they are.
    pub profile: AccountChange,
}

/// A user that was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportedAccount {
    /// The user.
    pub user: UserId,
    /// False if there was a user with this phone number.
    pub is_new: bool,
}

/// The refusal of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRefusal {
    /// Index of the user that it is about.
    pub at: usize,
    /// The reason.
    pub refusal: RequestRefusal,
}

impl AccountService {
    /// Creates these users, unless there are users with their phone numbers, and sets their profiles.
    /// All are checked before any is stored. An import that failed halfway may be repeated.
    ///
    /// # Errors
    /// The first user that is wrong, or that could not be stored.
    pub async fn import(
        &self,
        users: Vec<AccountImport>,
    ) -> Result<Vec<ImportedAccount>, ImportRefusal> {
        for (at, user) in users.iter().enumerate() {
            let checked = check_phone(&user.phone).and_then(|()| check_change(&user.profile));
            checked.map_err(|refusal| ImportRefusal { at, refusal })?;
        }
        let imports = users.into_iter().enumerate().map(|(at, user)| async move {
            let imported = self.import_one(user).await;
            imported.map_err(|refusal| ImportRefusal { at, refusal })
        });
        stream::iter(imports)
            .buffered(CONCURRENCY)
            .try_collect()
            .await
    }

    async fn import_one(&self, import: AccountImport) -> Result<ImportedAccount, RequestRefusal> {
        let (user, is_new) = self.create(import.phone).await?;
        if import.profile != AccountChange::default() {
            self.update(user, import.profile).await?;
        }
        Ok(ImportedAccount { user, is_new })
    }
}
