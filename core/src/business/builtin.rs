//! The built-in business service: users by phone number, and their tokens.
//!
//! Serves `BusinessExt` and, as a [`Business`], every sign-in. It uses the account, device and id
//! stores, and no wire. Tokens are random, stored as hashes, expire, and can be revoked.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;

use crate::business::{Business, CodeVerifier, SignIn, SignedIn, UserInfo};
use crate::error::Refusal;
use crate::id::{DeviceId, UserId};
use crate::message::Profile;
use crate::service::check;
use crate::service::rate::Rate;
use crate::store::{
    Account, AccountChange, AccountStore, DeviceStore, Names, NewAccount, Scope, SeqStore, Stores,
    TokenRecord,
};
use crate::time::Clock;

/// Timeout of the code verifier.
const VERIFY_WAIT: Duration = Duration::from_secs(5);
/// Longest verification code that is passed to the verifier, in bytes.
const CODE: usize = 64;
/// Letters from which a search key matches beginnings of names: a shorter key would list nearly all
/// users. A CJK character counts as two, because two of them are often a whole name.
const PREFIX_LETTERS: usize = 3;
/// Rate and burst of one user's searches per second; beyond them a search is refused with 8.
const SEARCHES: (u32, u32) = (5, 20);
/// The token of gim's test clients.
const FIXED_TOKEN: &str = "0";

/// Settings of the built-in business service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltinConfig {
    /// Validity of a token; default 90 days.
    pub token_ttl: Duration,
    /// Issues and accepts the token `0`, which gim's test clients use; default off. Unsafe by
    /// nature.
    pub fixed_token: bool,
    /// Wrong codes per minute for one phone number; beyond it sign-ins are refused with 8; default
    /// 10.
    pub failed_sign_ins: u32,
    /// Largest number of users in a search result; default 50.
    pub search_page: usize,
}

impl Default for BuiltinConfig {
    fn default() -> Self {
        Self {
            token_ttl: Duration::from_hours(90 * 24),
            fixed_token: false,
            failed_sign_ins: 10,
            search_page: 50,
        }
    }
}

/// The built-in business service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Builtin {
    accounts: Arc<dyn AccountStore>,
    devices: Arc<dyn DeviceStore>,
    seq: Arc<dyn SeqStore>,
    clock: Arc<dyn Clock>,
    verifier: Arc<dyn CodeVerifier>,
    config: BuiltinConfig,
    attempts: Arc<Rate<String>>,
    searches: Arc<Rate<UserId>>,
}

impl Builtin {
    /// Creates the service over these stores.
    #[must_use]
    pub fn new(
        stores: &Stores,
        clock: Arc<dyn Clock>,
        verifier: Arc<dyn CodeVerifier>,
        config: BuiltinConfig,
    ) -> Self {
        let attempts = Arc::new(Rate::per_minute(config.failed_sign_ins));
        Self {
            accounts: Arc::clone(&stores.account),
            devices: Arc::clone(&stores.device),
            seq: Arc::clone(&stores.seq),
            clock,
            verifier,
            config,
            attempts,
            searches: Arc::new(Rate::per_second(SEARCHES.0, SEARCHES.1)),
        }
    }

    /// Signs a user in on a device, and creates the user if the phone number is new. Another user
    /// on the device stays signed in, unless the caller proves with a token that it holds the
    /// device.
    pub async fn sign_in(&self, request: SignIn) -> Result<SignedIn, Refusal> {
        let phone = request.phone;
        check_phone(&phone)?;
        self.verify(&phone, &request.code).await?;
        let device = request.device;
        if self.devices.get(device).await?.is_none() {
            return Err(Refusal::NoSuchDevice(device));
        }
        let now = self.clock.now();
        let (account, is_new) = if let Some(account) = self.accounts.by_phone(&phone).await? {
            (account, false)
        } else {
            let number = self.seq.reserve(Scope::User, 1).await?;
            let user = UserId::new(number).ok_or(Refusal::Internal)?;
            let at = now;
            let new = NewAccount { user, phone, at };
            self.accounts.find_or_create(&new).await?
        };
        let token = if self.config.fixed_token {
            FIXED_TOKEN.to_owned()
        } else {
            hex(&rand::random::<[u8; 32]>())
        };
        let record = TokenRecord {
            hash: hash(&token),
            expires_at: now.after(self.config.token_ttl),
        };
        let user = account.user;
        let alone = match request.holder {
            Some((holder, shown)) => self.auth(holder, device, &shown).await.is_ok(),
            None => false,
        };
        let ended = self.accounts.put_token(user, device, &record, alone);
        Ok(SignedIn {
            is_new,
            user,
            token,
            ended: ended.await?,
        })
    }

    /// Revokes the device's token. The caller must then close the device's connection.
    pub async fn sign_out(&self, user: UserId, device: DeviceId) -> Result<(), Refusal> {
        Ok(self.accounts.revoke_token(user, device).await?)
    }

    /// Returns the user.
    pub async fn get(&self, user: UserId) -> Result<UserInfo, Refusal> {
        let found = self.accounts.get(&[user]).await?;
        let account = found.into_iter().next().ok_or(Refusal::NoSuchUser(user))?;
        Ok(info(account))
    }

    /// Changes the user's profile; `None` leaves a field unchanged. The caller must then remove the
    /// user from the directory with [`forget`](crate::directory::Directory::forget).
    pub async fn update(&self, user: UserId, change: AccountChange) -> Result<(), Refusal> {
        check::text_if("nickname", change.nickname.as_deref(), check::NAME)?;
        check::text_if("avatar_url", change.avatar_url.as_deref(), check::URL)?;
        check::text_if("extra", change.extra.as_deref(), check::TEXT)?;
        if change.sex.is_some_and(|sex| !(0..=2).contains(&sex)) {
            return Err(Refusal::bad(
                "sex must be 0 (unknown), 1 (male) or 2 (female)",
            ));
        }
        if self
            .accounts
            .update(user, &change, self.clock.now())
            .await?
        {
            Ok(())
        } else {
            Err(Refusal::NoSuchUser(user))
        }
    }

    /// Runs [`search`](Self::search) for a user, within the user's rate limit.
    pub async fn search_for(&self, caller: UserId, key: &str) -> Result<Vec<UserInfo>, Refusal> {
        self.searches
            .take(caller)
            .map_err(|retry_after| Refusal::RateLimited { retry_after })?;
        self.search(key).await
    }

    /// Returns the users whose phone number or full name is `key`, or whose name begins with `key`
    /// if it is long enough.
    pub async fn search(&self, key: &str) -> Result<Vec<UserInfo>, Refusal> {
        if key.is_empty() {
            return Err(Refusal::bad(
                "key is empty; set it to a phone number, a whole name, or the beginning of a name",
            ));
        }
        check::text("key", key, check::NAME)?;
        let names = if letters(key) < PREFIX_LETTERS {
            Names::Equal
        } else {
            Names::Begin
        };
        let most = self.config.search_page;
        let page = self.accounts.search(key, names, None, most).await?;
        Ok(page.items.into_iter().map(info).collect())
    }

    /// Checks a verification code. The attempt is counted before the verifier is called, so that
    /// concurrent attempts cannot exceed the limit; the right code clears the count.
    async fn verify(&self, phone: &str, code: &str) -> Result<(), Refusal> {
        self.attempts
            .take(phone.to_owned())
            .map_err(|retry_after| Refusal::RateLimited { retry_after })?;
        if code.len() > CODE {
            return Err(Refusal::BadCode);
        }
        let asked = timeout(VERIFY_WAIT, self.verifier.verify(phone, code)).await;
        if !asked.unwrap_or(Err(Refusal::Unavailable))? {
            return Err(Refusal::BadCode);
        }
        self.attempts.forget(&phone.to_owned());
        Ok(())
    }
}

#[async_trait]
impl Business for Builtin {
    async fn auth(&self, user: UserId, device: DeviceId, token: &str) -> Result<(), Refusal> {
        self.auth_for(user, device, token).await.map(|_| ())
    }

    async fn auth_for(
        &self,
        user: UserId,
        device: DeviceId,
        token: &str,
    ) -> Result<Option<Duration>, Refusal> {
        // gim's test clients use this token for every existing user, on every device.
        if self.config.fixed_token && token == FIXED_TOKEN {
            if self.accounts.get(&[user]).await?.is_empty() {
                return Err(Refusal::Unauthorized("the user does not exist"));
            }
            return Ok(None);
        }
        let record = self.accounts.token(user, device).await?;
        let left = record.and_then(|record| {
            let same: bool = record.hash.ct_eq(&hash(token)).into();
            let left = record.expires_at.0.checked_sub(self.clock.now().0)?;
            let left = u64::try_from(left).ok().filter(|left| *left > 0)?;
            same.then(|| Duration::from_millis(left))
        });
        let wrong = "the token is not valid for this user and device";
        left.map(Some).ok_or(Refusal::Unauthorized(wrong))
    }

    async fn users(&self, users: &[UserId]) -> Result<Vec<UserInfo>, Refusal> {
        let accounts = self.accounts.get(users).await?;
        Ok(accounts.into_iter().map(info).collect())
    }
}

/// Counts the letters of a key. A CJK character (Han, kana, Hangul) counts as two, because it
/// stands for a syllable or a word.
fn letters(key: &str) -> usize {
    let is_cjk = |c: char| matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}');
    key.chars().map(|c| if is_cjk(c) { 2 } else { 1 }).sum()
}

fn check_phone(phone: &str) -> Result<(), Refusal> {
    let digits = phone.strip_prefix('+').unwrap_or(phone);
    let right = (3..=20).contains(&phone.len())
        && !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    if right {
        return Ok(());
    }
    Err(Refusal::bad(
        "phone_number must be 3 to 20 characters: digits, optionally after a leading +",
    ))
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles
        .filter_map(|nibble| DIGITS.get(usize::from(nibble)))
        .collect()
}

fn info(account: Account) -> UserInfo {
    UserInfo {
        user: account.user,
        profile: Profile {
            nickname: account.nickname,
            avatar_url: account.avatar_url,
            extra: account.extra,
        },
        sex: account.sex,
        created_at: account.created_at,
        updated_at: account.updated_at,
    }
}
