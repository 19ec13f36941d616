//! Users and tokens of the built-in business service.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use async_trait::async_trait;

use crate::id::{DeviceId, UserId};
use crate::memory::helpers::{above, lock, page, set};
use crate::page::ListPage;
use crate::store::{
    AccountChange, AccountStore, NewAccount, NicknameMatch, StoreError, TokenRecord, UserAccount,
    UserBan,
};
use crate::time::UnixTimestamp;

/// All accounts, and the token of each user on each device.
#[derive(Debug, Default)]
pub(super) struct MemoryAccounts {
    people: Mutex<AccountTable>,
    tokens: Mutex<BTreeMap<(DeviceId, UserId), TokenRecord>>,
    bans: Mutex<BTreeMap<UserId, UserBan>>,
}

#[derive(Debug, Default)]
struct AccountTable {
    by_id: BTreeMap<UserId, UserAccount>,
    by_phone: HashMap<String, UserId>,
}

impl AccountTable {
    fn by_phone(&self, phone: &str) -> Option<&UserAccount> {
        self.by_id.get(self.by_phone.get(phone)?)
    }
}

#[async_trait]
impl AccountStore for MemoryAccounts {
    async fn find_or_create(&self, new: &NewAccount) -> Result<(UserAccount, bool), StoreError> {
        let mut people = lock(&self.people);
        if let Some(known) = people.by_phone(&new.phone) {
            return Ok((known.clone(), false));
        }
        let account = UserAccount {
            user: new.user,
            phone: new.phone.clone(),
            nickname: String::new(),
            sex: 0,
            avatar_url: String::new(),
            extra: String::new(),
            created_at: new.at,
            updated_at: new.at,
        };
        people.by_phone.insert(new.phone.clone(), new.user);
        people.by_id.insert(new.user, account.clone());
        Ok((account, true))
    }

    async fn by_phone(&self, phone: &str) -> Result<Option<UserAccount>, StoreError> {
        Ok(lock(&self.people).by_phone(phone).cloned())
    }

    async fn get(&self, users: &[UserId]) -> Result<Vec<UserAccount>, StoreError> {
        let people = lock(&self.people);
        let found = users.iter().filter_map(|user| people.by_id.get(user));
        Ok(found.cloned().collect())
    }

    async fn update(
        &self,
        user: UserId,
        change: &AccountChange,
        at: UnixTimestamp,
    ) -> Result<bool, StoreError> {
        let mut people = lock(&self.people);
        let Some(account) = people.by_id.get_mut(&user) else {
            return Ok(false);
        };
        set(&mut account.nickname, change.nickname.as_ref());
        set(&mut account.avatar_url, change.avatar_url.as_ref());
        set(&mut account.extra, change.extra.as_ref());
        account.sex = change.sex.unwrap_or(account.sex);
        account.updated_at = at;
        Ok(true)
    }

    async fn search(
        &self,
        key: &str,
        names: NicknameMatch,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<ListPage<UserAccount>, StoreError> {
        let people = lock(&self.people);
        let found = people
            .by_id
            .range(above(after))
            .map(|(_, account)| account)
            .filter(|it| {
                it.phone == key
                    || match names {
                        NicknameMatch::Equal => it.nickname == key,
                        NicknameMatch::Begin => it.nickname.starts_with(key),
                    }
            });
        Ok(page(found.cloned(), limit))
    }

    async fn put_token(
        &self,
        user: UserId,
        device: DeviceId,
        token: &TokenRecord,
        alone: bool,
    ) -> Result<Vec<UserId>, StoreError> {
        let mut tokens = lock(&self.tokens);
        let mut superseded = Vec::new();
        if alone {
            let holders = tokens.range((device, UserId::MIN)..=(device, UserId::MAX));
            superseded.extend(holders.map(|((_, holder), _)| *holder));
            superseded.retain(|holder| *holder != user);
            for holder in &superseded {
                tokens.remove(&(device, *holder));
            }
        }
        tokens.insert((device, user), token.clone());
        Ok(superseded)
    }

    async fn token(
        &self,
        user: UserId,
        device: DeviceId,
    ) -> Result<Option<TokenRecord>, StoreError> {
        if lock(&self.bans).contains_key(&user) {
            return Ok(None);
        }
        Ok(lock(&self.tokens).get(&(device, user)).cloned())
    }

    async fn revoke_token(&self, user: UserId, device: DeviceId) -> Result<(), StoreError> {
        lock(&self.tokens).remove(&(device, user));
        Ok(())
    }

    async fn ban(&self, user: UserId, ban: &UserBan) -> Result<(), StoreError> {
        lock(&self.bans).insert(user, ban.clone());
        Ok(())
    }

    async fn lift_ban(&self, user: UserId) -> Result<(), StoreError> {
        lock(&self.bans).remove(&user);
        Ok(())
    }

    async fn ban_of(&self, user: UserId) -> Result<Option<UserBan>, StoreError> {
        Ok(lock(&self.bans).get(&user).cloned())
    }
}
