//! Users and tokens of the built-in business service.

use std::collections::BTreeSet;

use async_trait::async_trait;
use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::page::ListPage;
use gimlet_core::store::{
    AccountChange, AccountStore, NewAccount, NicknameMatch, StoreError, TokenRecord, UserAccount,
    UserBan,
};
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::store::{self, Number};

use crate::error::EngineError;
use crate::rows::RowView;
use crate::shared::SharedState;
use crate::space::SpaceEffect;
use crate::store::{SledStore, set};
use crate::txn::WriteTransaction;
use crate::{key, record};

/// Bytes of a phone number, at most.
const MAX_PHONE_BYTES: usize = 256;
/// Rows of the index of names that a search reads while it holds the readers' lock once.
const SEARCH_SLICE_ROWS: usize = 200;
/// Largest number of rows of that index that a search reads in all.
const SEARCH_MAX_ROWS: usize = 10_000;

fn account(user: UserId, row: store::Account) -> UserAccount {
    UserAccount {
        user,
        phone: row.phone,
        nickname: row.nickname,
        sex: row.sex,
        avatar_url: row.avatar_url,
        extra: row.extra,
        created_at: UnixTimestamp(row.created_ms),
        updated_at: UnixTimestamp(row.updated_ms),
    }
}

fn by_id(rows: &RowView<'_>, user: UserId) -> Result<Option<UserAccount>, EngineError> {
    let row: Option<store::Account> = rows.get(&key::account(user))?;
    Ok(row.map(|row| account(user, row)))
}

fn by_phone(rows: &RowView<'_>, phone: &str) -> Result<Option<UserAccount>, EngineError> {
    match rows.get::<Number>(&key::phone(phone))? {
        Some(user) => {
            let found = by_id(rows, record::user(user.value)?)?;
            found
                .ok_or(EngineError::Corrupt("a phone number's user has no account"))
                .map(Some)
        }
        None => Ok(None),
    }
}

fn find_or_create(
    txn: &mut WriteTransaction<'_>,
    new: &NewAccount,
) -> Result<(UserAccount, bool), EngineError> {
    if new.phone.len() > MAX_PHONE_BYTES {
        return Err(EngineError::Misuse("a phone number has at most 256 bytes"));
    }
    if let Some(known) = by_phone(&txn.rows(), &new.phone)? {
        return Ok((known, false));
    }
    if txn.has(&key::account(new.user))? {
        return Err(EngineError::Misuse("the user's id is taken"));
    }
    let row = store::Account {
        phone: new.phone.clone(),
        created_ms: record::ms(new.at),
        updated_ms: record::ms(new.at),
        ..store::Account::default()
    };
    let value = new.user.get();
    txn.put(&key::phone(&new.phone), &Number { value })?;
    txn.put(&key::account(new.user), &row)?;
    txn.mark(&key::nickname("", new.user))?;
    Ok((account(new.user, row), true))
}

fn update(
    txn: &mut WriteTransaction<'_>,
    user: UserId,
    change: &AccountChange,
    at: UnixTimestamp,
) -> Result<bool, EngineError> {
    let name = key::account(user);
    let Some(mut row) = txn.get::<store::Account>(&name)? else {
        return Ok(false);
    };
    txn.remove(&key::nickname(&row.nickname, user))?;
    set(&mut row.nickname, change.nickname.as_deref());
    set(&mut row.avatar_url, change.avatar_url.as_deref());
    set(&mut row.extra, change.extra.as_deref());
    row.sex = change.sex.unwrap_or(row.sex);
    row.updated_ms = record::ms(at);
    txn.mark(&key::nickname(&row.nickname, user))?;
    txn.put(&name, &row)?;
    Ok(true)
}

/// Searches accounts by phone number and nickname.
///
/// The index is in the order of names, but the page is in the order of ids. So the search reads all
/// matching rows, up to [`SEARCH_MAX_ROWS`], and keeps one account more than the page holds. It
/// reads slice by slice, each in a durable state of its own: a reader that held one state for all
/// slices would block every commit.
fn search(
    shared: &SharedState,
    begin: &str,
    names: NicknameMatch,
    after: Option<UserId>,
    limit: usize,
) -> Result<ListPage<UserAccount>, EngineError> {
    let limit = limit.max(1);
    let mut found = BTreeSet::new();
    let keep = |found: &mut BTreeSet<UserId>, user: UserId| {
        if after.is_none_or(|after| user > after) {
            found.insert(user);
            if found.len() > limit + 1 {
                found.pop_last();
            }
        }
    };
    let mut from = None;
    for _ in 0..SEARCH_MAX_ROWS / SEARCH_SLICE_ROWS {
        let (users, last) = shared.durable(|rows| slice(rows, begin, names, from.as_deref()))?;
        for user in users {
            keep(&mut found, user);
        }
        from = last;
        if from.is_none() {
            break;
        }
    }
    shared.durable(|rows| {
        if let Some(row) = rows.get::<Number>(&key::phone(begin))? {
            keep(&mut found, record::user(row.value)?);
        }
        let more = found.len() > limit;
        let mut items = Vec::with_capacity(found.len().min(limit));
        for user in found.into_iter().take(limit) {
            // The name may have changed since its slice was read.
            let now = by_id(rows, user)?;
            items.extend(now.filter(|it| it.phone == begin || matches(names, &it.nickname, begin)));
        }
        Ok(ListPage { items, more })
    })
}

fn matches(names: NicknameMatch, nickname: &str, key: &str) -> bool {
    match names {
        NicknameMatch::Equal => nickname == key,
        NicknameMatch::Begin => nickname.starts_with(key),
    }
}

/// Returns the users of the next slice of index rows whose name begins with this text, and the
/// slice's last row if more rows may follow.
///
/// The rows of a whole name lie scattered between those of longer names: a row continues either
/// with the eight bytes of its user's id or with more text. A search for whole names therefore
/// leaps over the longer names, to the place of the next user that exists.
fn slice(
    rows: &RowView<'_>,
    begin: &str,
    names: NicknameMatch,
    from: Option<&[u8]>,
) -> Result<(Vec<UserId>, Option<Vec<u8>>), EngineError> {
    let (mut users, mut last) = (Vec::new(), None);
    let prefix = key::nickname_prefix(begin);
    // The index cuts off longer names, so their rows do not show which name is whole.
    let whole = names == NicknameMatch::Equal && begin.len() < key::NICKNAME_BYTES;
    let mut scan = rows.scan(&prefix, from);
    for _ in 0..SEARCH_SLICE_ROWS {
        let Some(row) = scan.next() else {
            return Ok((users, None));
        };
        let name = row?.0;
        last = Some(name.to_vec());
        let rest = name.get(prefix.len()..).unwrap_or_default();
        if whole && let Some((number, [_, ..])) = rest.split_first_chunk::<8>() {
            // A longer name: its next bytes are text. A row of this name can only follow at the id
            // of a user above the number that these bytes spell.
            let number = u64::from_be_bytes(*number);
            let Some(next) = user_above(rows, number)? else {
                return Ok((users, None));
            };
            if next - 1 > number {
                let before = [prefix.as_slice(), &(next - 1).to_be_bytes()].concat();
                scan = rows.scan(&prefix, Some(&before));
            }
            continue;
        }
        let user = record::key_user(&name)?;
        // The row may hold only the first bytes of the name, or the text may have matched bytes of
        // the id, so the account's own name decides.
        let known = by_id(rows, user)?;
        if known.is_some_and(|it| matches(names, &it.nickname, begin)) {
            users.push(user);
        }
    }
    Ok((users, last))
}

/// Returns the smallest id above this number that has an account.
fn user_above(rows: &RowView<'_>, number: u64) -> Result<Option<u64>, EngineError> {
    let above = key::accounts_above(number);
    match rows.scan(key::ACCOUNTS, Some(&above)).next() {
        Some(row) => record::key_number(&row?.0).map(Some),
        None => Ok(None),
    }
}

/// Returns the token's row; also one of an earlier version, which kept one token for each device.
fn token_row(
    rows: &RowView<'_>,
    user: UserId,
    device: DeviceId,
) -> Result<Option<store::Token>, EngineError> {
    if let Some(row) = rows.get(&key::token(device, user))? {
        return Ok(Some(row));
    }
    let earlier: Option<store::Token> = rows.get(&key::tokens(device))?;
    Ok(earlier.filter(|it| it.user == user.get()))
}

fn token(
    rows: &RowView<'_>,
    user: UserId,
    device: DeviceId,
) -> Result<Option<TokenRecord>, EngineError> {
    if rows.has(&key::ban(user))? {
        return Ok(None);
    }
    let read = token_row(rows, user, device)?.map(|row| {
        let hash = row.hash.as_ref().try_into();
        Ok(TokenRecord {
            hash: hash.map_err(|_| EngineError::Corrupt("a token's hash is not 32 bytes"))?,
            expires_at: UnixTimestamp(row.expires_ms),
        })
    });
    read.transpose()
}

fn put_token(
    txn: &mut WriteTransaction<'_>,
    device: DeviceId,
    row: &store::Token,
    alone: bool,
) -> Result<Vec<UserId>, EngineError> {
    let user = record::user(row.user)?;
    let mut superseded = Vec::new();
    if alone {
        let mut others = Vec::new();
        let rows = txn.rows();
        for found in rows.scan(&key::tokens(device), None) {
            let (name, value) = found?;
            let held: store::Token = rows.decode(&name, &value)?;
            if held.user != row.user {
                others.push((name.to_vec(), record::user(held.user)?));
            }
        }
        for (name, holder) in others {
            txn.remove(&name)?;
            superseded.push(holder);
        }
    }
    revoke_token(txn, user, device)?;
    txn.put(&key::token(device, user), row)?;
    Ok(superseded)
}

/// Removes the token, including one that an earlier version stored: that row would otherwise become
/// valid again when the new one is removed.
fn revoke_token(
    txn: &mut WriteTransaction<'_>,
    user: UserId,
    device: DeviceId,
) -> Result<(), EngineError> {
    let name = key::token(device, user);
    if txn.has(&name)? {
        txn.remove(&name)?;
    }
    let earlier: Option<store::Token> = txn.get(&key::tokens(device))?;
    if earlier.is_some_and(|it| it.user == user.get()) {
        txn.remove(&key::tokens(device))?;
    }
    Ok(())
}

#[async_trait]
impl AccountStore for SledStore {
    async fn find_or_create(&self, new: &NewAccount) -> Result<(UserAccount, bool), StoreError> {
        // Most calls are for a known phone number, which needs no commit.
        if let Some(known) = self.by_phone(&new.phone).await? {
            return Ok((known, false));
        }
        let new = new.clone();
        let create = move |txn: &mut WriteTransaction<'_>| find_or_create(txn, &new);
        self.change("account.find_or_create", SpaceEffect::Adds, create)
            .await
    }

    async fn by_phone(&self, phone: &str) -> Result<Option<UserAccount>, StoreError> {
        let phone = phone.to_owned();
        let read = self.read("account.by_phone", move |rows| by_phone(rows, &phone));
        read.await
    }

    async fn get(&self, users: &[UserId]) -> Result<Vec<UserAccount>, StoreError> {
        let users = users.to_vec();
        let read = self.read("account.get", move |rows| {
            let found = users.iter().map(|user| by_id(rows, *user));
            found.filter_map(Result::transpose).collect()
        });
        read.await
    }

    async fn update(
        &self,
        user: UserId,
        change: &AccountChange,
        at: UnixTimestamp,
    ) -> Result<bool, StoreError> {
        let change = change.clone();
        let update = move |txn: &mut WriteTransaction<'_>| update(txn, user, &change, at);
        self.change("account.update", SpaceEffect::Adds, update)
            .await
    }

    async fn search(
        &self,
        key: &str,
        names: NicknameMatch,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<ListPage<UserAccount>, StoreError> {
        let begin = key.to_owned();
        let read = move |shared: &SharedState| search(shared, &begin, names, after, limit);
        self.with("account.search", read).await
    }

    async fn put_token(
        &self,
        user: UserId,
        device: DeviceId,
        token: &TokenRecord,
        alone: bool,
    ) -> Result<Vec<UserId>, StoreError> {
        let row = store::Token {
            hash: token.hash.to_vec().into(),
            expires_ms: record::ms(token.expires_at),
            user: user.get(),
        };
        let put = self.change("account.put_token", SpaceEffect::Sets, move |txn| {
            put_token(txn, device, &row, alone)
        });
        put.await
    }

    async fn token(
        &self,
        user: UserId,
        device: DeviceId,
    ) -> Result<Option<TokenRecord>, StoreError> {
        let read = self.read("account.token", move |rows| token(rows, user, device));
        read.await
    }

    async fn revoke_token(&self, user: UserId, device: DeviceId) -> Result<(), StoreError> {
        let revoke = self.change("account.revoke_token", SpaceEffect::Removes, move |txn| {
            revoke_token(txn, user, device)
        });
        revoke.await
    }

    async fn ban(&self, user: UserId, ban: &UserBan) -> Result<(), StoreError> {
        let row = store::Ban {
            reason: ban.reason.clone(),
            at_ms: record::ms(ban.at),
        };
        let put = self.change("account.ban", SpaceEffect::Sets, move |txn| {
            txn.put(&key::ban(user), &row)
        });
        put.await
    }

    async fn lift_ban(&self, user: UserId) -> Result<(), StoreError> {
        let lift = self.change("account.lift_ban", SpaceEffect::Removes, move |txn| {
            let name = key::ban(user);
            if txn.has(&name)? {
                txn.remove(&name)?;
            }
            Ok(())
        });
        lift.await
    }

    async fn ban_of(&self, user: UserId) -> Result<Option<UserBan>, StoreError> {
        let read = self.read("account.ban_of", move |rows| {
            let row: Option<store::Ban> = rows.get(&key::ban(user))?;
            Ok(row.map(|row| UserBan {
                reason: row.reason,
                at: UnixTimestamp(row.at_ms),
            }))
        });
        read.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::RowOverlay;

    #[test]
    fn a_token_of_an_earlier_version_stays_good() {
        let db = sled::Config::new().temporary(true).open().unwrap();
        let heads = crate::heads::HeadCache::default();
        let mut txn = WriteTransaction::new(&db, &heads, UnixTimestamp(0));
        let id = |n| UserId::new(n).unwrap();
        let (alice, bob, carol, device) = (id(5), id(6), id(7), DeviceId::new(7).unwrap());
        let row = |user: UserId, n| store::Token {
            hash: vec![n; 32].into(),
            expires_ms: 9,
            user: user.get(),
        };
        let held = |txn: &WriteTransaction<'_>, user| {
            let found = token(&txn.rows(), user, device).unwrap();
            found.map(|it| it.hash[0])
        };
        // The row as the earlier version wrote it: one for each device.
        txn.put(&key::tokens(device), &row(alice, 1)).unwrap();
        assert_eq!((held(&txn, alice), held(&txn, bob)), (Some(1), None));
        put_token(&mut txn, device, &row(bob, 2), false).unwrap();
        assert_eq!((held(&txn, alice), held(&txn, bob)), (Some(1), Some(2)));
        // A new token replaces the earlier version's row, and revoking it must not bring that row
        // back.
        put_token(&mut txn, device, &row(alice, 3), false).unwrap();
        assert_eq!(held(&txn, alice), Some(3));
        revoke_token(&mut txn, alice, device).unwrap();
        assert_eq!((held(&txn, alice), held(&txn, bob)), (None, Some(2)));
        txn.put(&key::tokens(device), &row(alice, 1)).unwrap();
        let mut gone = put_token(&mut txn, device, &row(carol, 4), true).unwrap();
        gone.sort_unstable();
        assert_eq!(gone, [alice, bob]);
        assert_eq!((held(&txn, alice), held(&txn, carol)), (None, Some(4)));
    }

    #[test]
    fn a_search_looks_at_a_slice_at_a_time_and_misses_nobody() {
        let db = sled::Config::new().temporary(true).open().unwrap();
        let row = store::Account {
            nickname: "same".into(),
            ..store::Account::default()
        };
        let mut value = vec![crate::rows::SINGLE_ROW];
        prost::Message::encode(&row, &mut value).unwrap();
        for n in 1..=450 {
            let user = UserId::new(n).unwrap();
            db.insert(key::account(user), value.clone()).unwrap();
            db.insert(key::nickname("same", user), vec![0]).unwrap();
        }
        let layer = RowOverlay::new();
        let rows = RowView::new(&db, &layer);
        let (mut sizes, mut all, mut from) = (Vec::new(), Vec::new(), None);
        loop {
            let (users, last) = slice(&rows, "sam", NicknameMatch::Begin, from.as_deref()).unwrap();
            sizes.push(users.len());
            all.extend(users.iter().map(|it| it.get()));
            from = last;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(sizes, [SEARCH_SLICE_ROWS, SEARCH_SLICE_ROWS, 50]);
        assert_eq!(all, (1..=450).collect::<Vec<_>>());
    }

    /// Rows of longer names are skipped, so they do not use up what a search may read.
    #[test]
    fn a_whole_name_is_found_behind_many_longer_ones() {
        let db = sled::Config::new().temporary(true).open().unwrap();
        let row = store::Account {
            nickname: "o".into(),
            ..store::Account::default()
        };
        let mut value = vec![crate::rows::SINGLE_ROW];
        prost::Message::encode(&row, &mut value).unwrap();
        // The first bytes of these ids are 0, and a letter behind the first letter of "ok".
        let users = [1, u64::from(b'z') << 56].map(|n| UserId::new(n).unwrap());
        for user in users {
            db.insert(key::account(user), value.clone()).unwrap();
            db.insert(key::nickname("o", user), vec![0]).unwrap();
        }
        for n in 1_000..2_000 {
            let user = UserId::new(n).unwrap();
            let name = format!("okay, a longer name {n}");
            db.insert(key::nickname(&name, user), vec![0]).unwrap();
        }
        let layer = RowOverlay::new();
        let rows = RowView::new(&db, &layer);
        let (found, last) = slice(&rows, "o", NicknameMatch::Equal, None).unwrap();
        assert_eq!((found.as_slice(), last), (users.as_slice(), None));
    }
}
