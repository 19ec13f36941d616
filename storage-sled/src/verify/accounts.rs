//! Checks devices, groups, friends, accounts, API keys and users of JWTs.

use gimlet_core::id::{ApiKeyId, UserId};
use gimlet_core::seq::Seq;
use gimlet_core::verify::VerifyRule;
use gimlet_proto::store::{
    Account, ApiKey, Ban, Device, Friend, Group, JwtUser, Member, Number, Token,
};

use super::{CheckResult, StorageCheck, inbox, pair, shown};
use crate::error::EngineError;
use crate::{heads, key};

impl<F: FnMut(u64) -> std::io::Result<()>> StorageCheck<'_, F> {
    pub(super) fn devices(&mut self) -> CheckResult {
        self.each(b"D", "devices", |it, name, value| {
            let place = || format!("device {}", key::last_number(name).unwrap_or(0));
            let Some(device) = it.decode::<Device>(name, value, place) else {
                return Ok(());
            };
            if device.user != 0 && device.generation == 0 {
                it.report.find(
                    VerifyRule::Generations,
                    place(),
                    "it has signed in, and its generation is 0",
                );
            }
            Ok(())
        })?;
        self.each(b"T", "tokens", |it, name, value| {
            // A row of an earlier version has only the device in its key, and the user in its
            // value.
            let place = || match pair(name) {
                Some((device, user)) => format!("token of user {user} on device {device}"),
                None => format!("token of device {}", key::last_number(name).unwrap_or(0)),
            };
            if let Some(token) = it.decode::<Token>(name, value, place)
                && (token.hash.len() != 32 || token.user == 0)
            {
                it.report.find(
                    VerifyRule::Readable,
                    place(),
                    "its hash is not 32 bytes, or it names no user",
                );
            }
            Ok(())
        })?;
        self.each(b"S", "acks", |it, name, value| {
            let Some((owner, device)) = pair(name) else {
                it.report
                    .find(VerifyRule::Readable, shown(name), "a key of another length");
                return Ok(());
            };
            let place = || format!("{}, device {device}", inbox(owner));
            let Some(ack) = it.decode::<Number>(name, value, place) else {
                return Ok(());
            };
            let head = match UserId::new(owner) {
                Some(user) => heads::head(&it.rows, &it.heads, user)?.head,
                None => Seq::ZERO,
            };
            if ack.value > head.get() {
                let what = format!("it has acked {}, and the head is {}", ack.value, head.get());
                it.report.find(VerifyRule::Acks, place(), what);
            }
            Ok(())
        })
    }

    pub(super) fn api_keys(&mut self) -> CheckResult {
        self.each(key::API_KEYS, "api keys", |it, name, value| {
            let number = key::last_number(name).unwrap_or(0);
            let place = || format!("API key {number:016x}");
            let Some(row) = it.decode::<ApiKey>(name, value, place) else {
                return Ok(());
            };
            let hash: Option<[u8; 32]> = row.hash.as_ref().try_into().ok();
            if hash.map(|hash| ApiKeyId::of_hash(&hash).get()) != Some(number) {
                it.report.find(
                    VerifyRule::Readable,
                    place(),
                    "its id is not that of its hash",
                );
            }
            Ok(())
        })
    }

    pub(super) fn jwt_users(&mut self) -> CheckResult {
        self.each(key::JWT_USERS, "users of JWTs", |it, name, value| {
            let place = || format!("JWT user {}", key::last_number(name).unwrap_or(0));
            let Some(user) = it.decode::<JwtUser>(name, value, place) else {
                return Ok(());
            };
            if user.revoked.iter().any(|token| token.id.len() != 32) {
                let what = "the hash of a revoked token's id is not 32 bytes";
                it.report.find(VerifyRule::Readable, place(), what);
            }
            Ok(())
        })
    }

    pub(super) fn groups(&mut self) -> CheckResult {
        let mut largest = 0;
        self.each(b"G", "groups", |it, name, value| {
            let number = key::last_number(name).unwrap_or(0);
            largest = number;
            let place = || format!("group {number}");
            let Some(group) = it.decode::<Group>(name, value, place) else {
                return Ok(());
            };
            let Some(id) = gimlet_core::id::GroupId::new(number) else {
                it.report
                    .find(VerifyRule::Readable, place(), "its id is out of range");
                return Ok(());
            };
            let members = it.rows.scan(&key::members(id), None).count() as u64;
            if members != group.members {
                let what = format!("it has {members} members and counts {}", group.members);
                it.report.find(VerifyRule::Rosters, place(), what);
            }
            Ok(())
        })?;
        self.counter(3, largest, "groups")?;
        self.each(b"M", "members", |it, name, value| {
            let Some((group, user)) = pair(name) else {
                it.report
                    .find(VerifyRule::Readable, shown(name), "a key of another length");
                return Ok(());
            };
            let place = || format!("group {group}, user {user}");
            let _ = it.decode::<Member>(name, value, place);
            if !it.row_exists(group, user, |group, user| {
                key::group_of(user, group).to_vec()
            })? {
                it.report.find(
                    VerifyRule::Rosters,
                    place(),
                    "a member whose groups do not name it",
                );
            }
            if !it.row_exists(group, user, |group, _| key::group(group).to_vec())? {
                it.report.find(
                    VerifyRule::Rosters,
                    place(),
                    "a member of a group that does not exist",
                );
            }
            Ok(())
        })?;
        self.each(b"U", "memberships", |it, name, _| {
            let Some((user, group)) = pair(name) else {
                it.report
                    .find(VerifyRule::Readable, shown(name), "a key of another length");
                return Ok(());
            };
            if !it.row_exists(group, user, |group, user| key::member(group, user).to_vec())? {
                let place = format!("group {group}, user {user}");
                it.report.find(
                    VerifyRule::Rosters,
                    place,
                    "a group that does not have it as a member",
                );
            }
            Ok(())
        })
    }

    /// Returns true if the row of this group and user exists.
    fn row_exists(
        &self,
        group: u64,
        user: u64,
        name: impl FnOnce(gimlet_core::id::GroupId, UserId) -> Vec<u8>,
    ) -> Result<bool, EngineError> {
        match (gimlet_core::id::GroupId::new(group), UserId::new(user)) {
            (Some(group), Some(user)) => self.rows.has(&name(group, user)),
            _ => Ok(false),
        }
    }

    pub(super) fn friends(&mut self) -> CheckResult {
        self.each(b"F", "friendships", |it, name, value| {
            let Some((user, friend)) = pair(name) else {
                it.report
                    .find(VerifyRule::Readable, shown(name), "a key of another length");
                return Ok(());
            };
            let place = || format!("users {user} and {friend}");
            let _ = it.decode::<Friend>(name, value, place);
            let mutual = match (UserId::new(user), UserId::new(friend)) {
                (Some(user), Some(friend)) => it.rows.has(&key::friend(friend, user))?,
                _ => false,
            };
            if !mutual {
                it.report
                    .find(VerifyRule::Friends, place(), "a friendship of one side");
            }
            Ok(())
        })?;
        self.each(b"Q", "requests", |it, name, value| {
            let _ = it.decode::<Friend>(name, value, || shown(name));
            Ok(())
        })
    }

    pub(super) fn accounts(&mut self) -> CheckResult {
        let mut largest = 0;
        self.each(b"A", "accounts", |it, name, value| {
            let number = key::last_number(name).unwrap_or(0);
            largest = number;
            let place = || format!("user {number}");
            let Some(account) = it.decode::<Account>(name, value, place) else {
                return Ok(());
            };
            // The phone number itself must not appear in a report.
            if it.number(&key::phone(&account.phone))? != number {
                it.report.find(
                    VerifyRule::Accounts,
                    place(),
                    "its phone number leads elsewhere",
                );
            }
            if let Some(user) = UserId::new(number)
                && !it.rows.has(&key::nickname(&account.nickname, user))?
            {
                it.report.find(
                    VerifyRule::Accounts,
                    place(),
                    "its nickname is not in the index",
                );
            }
            Ok(())
        })?;
        self.counter(1, largest, "users")?;
        self.each(b"b", "bans", |it, name, value| {
            let _ = it.decode::<Ban>(name, value, || shown(name));
            Ok(())
        })?;
        self.each(b"P", "phone numbers", |it, name, value| {
            let user = it.decode::<Number>(name, value, || "a phone number".into());
            let user = user.and_then(|it| UserId::new(it.value));
            let there = match user {
                Some(user) => it.rows.has(&key::account(user))?,
                None => false,
            };
            if !there {
                it.report.find(
                    VerifyRule::Accounts,
                    "a phone number",
                    "it leads to no account",
                );
            }
            Ok(())
        })?;
        self.each(b"N", "nicknames", |it, name, _| {
            let number = key::last_number(name).unwrap_or(0);
            let there = match UserId::new(number) {
                Some(user) => it.rows.has(&key::account(user))?,
                None => false,
            };
            if !there {
                let place = format!("user {number}");
                it.report.find(
                    VerifyRule::Accounts,
                    place,
                    "a nickname of an account that does not exist",
                );
            }
            Ok(())
        })
    }
}
