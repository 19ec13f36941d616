//! The built-in business service: users by phone number, and their tokens.
//!
//! Serves `BusinessExt` and, as a [`BusinessBackend`], every sign-in. It uses the account, device
//! and id stores, and no wire. Tokens are random, stored as hashes, expire, and can be revoked.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;

use crate::business::{BusinessBackend, CodeVerifier, SignIn, SignedIn, UserInfo};
use crate::digest;
use crate::error::RequestRefusal;
use crate::id::{DeviceId, UserId};
use crate::message::UserProfile;
use crate::rate::RateLimiter;
use crate::store::{
    AccountChange, AccountStore, DeviceStore, IdScope, JwtUserStore, NewAccount, NicknameMatch,
    SeqStore, StoreSet, TokenRecord, UserAccount, UserBan,
};
use crate::text_limits::{self, NAME_MAX_BYTES, TEXT_MAX_BYTES, URL_MAX_BYTES};
use crate::time::TimeSource;

/// Timeout of one call to the code verifier.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest verification code that is passed to the verifier, in bytes.
const CODE_MAX_BYTES: usize = 64;
/// Minimum number of letters of a search key that matches the beginnings of names: a shorter key
/// would list nearly all users. A CJK character counts as two, because two of them are often a
/// whole name.
const MIN_PREFIX_LETTERS: usize = 3;
/// Searches of one user per second, and their burst; beyond them a search is refused with 8.
const SEARCH_RATE_AND_BURST: (u32, u32) = (5, 20);
/// Largest number of ids in a row that may be taken while a new user is created.
const MAX_TAKEN_IDS: usize = 64;
/// Largest number of ids that are passed at a time: the store reserves no more.
const MAX_ID_BLOCK: u64 = 1_000;
/// The token of gim's test clients.
const FIXED_TOKEN: &str = "0";

/// Settings of the built-in business service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltinConfig {
    /// Validity of a token; default 90 days.
    pub token_ttl: Duration,
    /// Issues and accepts the token `0`, which gim's test clients use; default off. It lets anyone
    /// sign in as any user.
    pub fixed_token: bool,
    /// Wrong codes per minute for one phone number; default 10. Beyond it, sign-ins are refused
    /// with 8.
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
pub struct BuiltinBusiness {
    accounts: Arc<dyn AccountStore>,
    /// Users that only JWTs name.
    named: Arc<dyn JwtUserStore>,
    devices: Arc<dyn DeviceStore>,
    seq: Arc<dyn SeqStore>,
    clock: Arc<dyn TimeSource>,
    verifier: Arc<dyn CodeVerifier>,
    config: BuiltinConfig,
    attempts: Arc<RateLimiter<String>>,
    searches: Arc<RateLimiter<UserId>>,
}

impl BuiltinBusiness {
    /// Creates the service over these stores.
    #[must_use]
    pub fn new(
        stores: &StoreSet,
        clock: Arc<dyn TimeSource>,
        verifier: Arc<dyn CodeVerifier>,
        config: BuiltinConfig,
    ) -> Self {
        let attempts = Arc::new(RateLimiter::per_minute(config.failed_sign_ins));
        Self {
            accounts: Arc::clone(&stores.account),
            named: Arc::clone(&stores.jwt_user),
            devices: Arc::clone(&stores.device),
            seq: Arc::clone(&stores.seq),
            clock,
            verifier,
            config,
            attempts,
            searches: Arc::new(RateLimiter::per_second(
                SEARCH_RATE_AND_BURST.0,
                SEARCH_RATE_AND_BURST.1,
            )),
        }
    }

    /// Signs a user in on a device, and creates the user if the phone number is new. Another user
    /// on the device stays signed in, unless the caller proves with a token that it holds the
    /// device.
    pub async fn sign_in(&self, request: SignIn) -> Result<SignedIn, RequestRefusal> {
        let phone = request.phone;
        check_phone(&phone)?;
        self.verify(&phone, &request.code).await?;
        let device = request.device;
        if self.devices.get(device).await?.is_none() {
            return Err(RequestRefusal::NoSuchDevice(device));
        }
        let (user, is_new) = self.find_or_create(phone).await?;
        self.refuse_banned(user).await?;
        let (token, record) = self.new_token();
        let alone = match request.holder {
            Some((holder, shown)) => self.auth(holder, device, &shown).await.is_ok(),
            None => false,
        };
        // A caller that has proved to hold the device ends all other users' tokens on it.
        let ended = self.accounts.put_token(user, device, &record, alone);
        Ok(SignedIn {
            is_new,
            user,
            token,
            ended: ended.await?,
        })
    }

    /// Returns the user with this phone number, creating it if there is none, and whether it was
    /// created: for a backend, which vouches for the number.
    pub async fn create(&self, phone: String) -> Result<(UserId, bool), RequestRefusal> {
        check_phone(&phone)?;
        self.find_or_create(phone).await
    }

    /// Makes a token of the user on the device for a backend, which vouches for the user. An earlier
    /// token of the user on this device ends.
    pub async fn issue_token(
        &self,
        user: UserId,
        device: DeviceId,
    ) -> Result<String, RequestRefusal> {
        self.get(user).await?;
        self.refuse_banned(user).await?;
        if self.devices.get(device).await?.is_none() {
            return Err(RequestRefusal::NoSuchDevice(device));
        }
        let (token, record) = self.new_token();
        let ended = self
            .accounts
            .put_token(user, device, &record, false)
            .await?;
        debug_assert!(ended.is_empty(), "other users' tokens stay");
        Ok(token)
    }

    /// Bans the user: its tokens are not valid until the ban is lifted. The caller must then close its
    /// connections.
    pub async fn ban(&self, user: UserId, reason: String) -> Result<(), RequestRefusal> {
        text_limits::text("reason", &reason, TEXT_MAX_BYTES)?;
        self.get(user).await?;
        let at = self.clock.now();
        Ok(self.accounts.ban(user, &UserBan { reason, at }).await?)
    }

    /// Lifts the user's ban.
    pub async fn lift_ban(&self, user: UserId) -> Result<(), RequestRefusal> {
        Ok(self.accounts.lift_ban(user).await?)
    }

    /// Returns the user's ban.
    pub async fn ban_of(&self, user: UserId) -> Result<Option<UserBan>, RequestRefusal> {
        Ok(self.accounts.ban_of(user).await?)
    }

    async fn refuse_banned(&self, user: UserId) -> Result<(), RequestRefusal> {
        match self.accounts.ban_of(user).await? {
            Some(_) => Err(RequestRefusal::Banned),
            None => Ok(()),
        }
    }

    async fn find_or_create(&self, phone: String) -> Result<(UserId, bool), RequestRefusal> {
        if let Some(account) = self.accounts.by_phone(&phone).await? {
            return Ok((account.user, false));
        }
        let user = self.new_user().await?;
        let at = self.clock.now();
        let new = NewAccount { user, phone, at };
        let (account, is_new) = self.accounts.find_or_create(&new).await?;
        Ok((account.user, is_new))
    }

    /// Reserves the id of a new user. An id that a JWT has named belongs to somebody already.
    async fn new_user(&self) -> Result<UserId, RequestRefusal> {
        // The block doubles with each id that is taken, so that a backend's long range of ids is
        // passed in few steps.
        let mut block = 1;
        for _ in 0..MAX_TAKEN_IDS {
            let first = self.seq.reserve(IdScope::User, block).await?;
            let user = UserId::new(first + (block - 1)).ok_or(RequestRefusal::Internal)?;
            if self.named.get(&[user]).await?.is_empty() {
                return Ok(user);
            }
            block = (block * 2).min(MAX_ID_BLOCK);
        }
        // The next attempt goes on behind these ids.
        Err(RequestRefusal::Unavailable)
    }

    /// Returns those of these users that have no account and that a JWT has named.
    async fn named(&self, users: &[UserId]) -> Result<Vec<UserInfo>, RequestRefusal> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let named = self.named.get(users).await?;
        Ok(named.into_iter().filter_map(UserInfo::of_jwt).collect())
    }

    /// Makes a token, and the record by which it is recognised.
    fn new_token(&self) -> (String, TokenRecord) {
        let token = if self.config.fixed_token {
            FIXED_TOKEN.to_owned()
        } else {
            digest::random_hex()
        };
        let record = TokenRecord {
            hash: digest::sha256(&token),
            expires_at: self.clock.now().after(self.config.token_ttl),
        };
        (token, record)
    }

    /// Revokes the device's token. The caller must then close the device's connection.
    pub async fn sign_out(&self, user: UserId, device: DeviceId) -> Result<(), RequestRefusal> {
        Ok(self.accounts.revoke_token(user, device).await?)
    }

    /// Returns the user.
    pub async fn get(&self, user: UserId) -> Result<UserInfo, RequestRefusal> {
        let found = self.users(&[user]).await?;
        found
            .into_iter()
            .next()
            .ok_or(RequestRefusal::NoSuchUser(user))
    }

    /// Changes the user's profile; `None` leaves a field unchanged. The caller must then remove the
    /// user from the directory with [`forget`](crate::directory::ProfileDirectory::forget).
    pub async fn update(&self, user: UserId, change: AccountChange) -> Result<(), RequestRefusal> {
        check_change(&change)?;
        if self
            .accounts
            .update(user, &change, self.clock.now())
            .await?
        {
            return Ok(());
        }
        if self.named(&[user]).await?.is_empty() {
            return Err(RequestRefusal::NoSuchUser(user));
        }
        Err(RequestRefusal::Unsupported(
            "the profile of this user comes from the claims name and avatar of its JWTs; change it \
             there",
        ))
    }

    /// Runs [`search`](Self::search) for a user, within the user's rate limit.
    pub async fn search_for(
        &self,
        caller: UserId,
        key: &str,
    ) -> Result<Vec<UserInfo>, RequestRefusal> {
        self.searches
            .take(caller)
            .map_err(|retry_after| RequestRefusal::RateLimited { retry_after })?;
        self.search(key).await
    }

    /// Returns the users whose phone number or full name is `key`, or whose name begins with `key`
    /// if it is long enough.
    pub async fn search(&self, key: &str) -> Result<Vec<UserInfo>, RequestRefusal> {
        if key.is_empty() {
            return Err(RequestRefusal::bad(
                "key is empty; set it to a phone number, a whole name, or the beginning of a name",
            ));
        }
        text_limits::text("key", key, NAME_MAX_BYTES)?;
        let names = if letters(key) < MIN_PREFIX_LETTERS {
            NicknameMatch::Equal
        } else {
            NicknameMatch::Begin
        };
        let max = self.config.search_page;
        let page = self.accounts.search(key, names, None, max).await?;
        Ok(page.items.into_iter().map(info).collect())
    }

    /// Checks a verification code. The attempt is counted before the verifier is called, so that
    /// concurrent attempts cannot exceed the limit. A correct code resets the count.
    async fn verify(&self, phone: &str, code: &str) -> Result<(), RequestRefusal> {
        self.attempts
            .take(phone.to_owned())
            .map_err(|retry_after| RequestRefusal::RateLimited { retry_after })?;
        if code.len() > CODE_MAX_BYTES {
            return Err(RequestRefusal::BadCode);
        }
        let asked = timeout(VERIFY_TIMEOUT, self.verifier.verify(phone, code)).await;
        if !asked.unwrap_or(Err(RequestRefusal::Unavailable))? {
            return Err(RequestRefusal::BadCode);
        }
        self.attempts.forget(&phone.to_owned());
        Ok(())
    }
}

#[async_trait]
impl BusinessBackend for BuiltinBusiness {
    async fn auth(
        &self,
        user: UserId,
        device: DeviceId,
        token: &str,
    ) -> Result<(), RequestRefusal> {
        self.auth_for(user, device, token).await.map(|_| ())
    }

    async fn auth_for(
        &self,
        user: UserId,
        device: DeviceId,
        token: &str,
    ) -> Result<Option<Duration>, RequestRefusal> {
        // gim's test clients use this token for every existing user, on every device.
        if self.config.fixed_token && token == FIXED_TOKEN {
            if self.accounts.get(&[user]).await?.is_empty() {
                return Err(RequestRefusal::Unauthorized("the user does not exist"));
            }
            self.refuse_banned(user).await?;
            return Ok(None);
        }
        let record = self.accounts.token(user, device).await?;
        if record.is_none() {
            // Read only without a token: a banned user has none.
            self.refuse_banned(user).await?;
        }
        let left = record.and_then(|record| {
            let same: bool = record.hash.ct_eq(&digest::sha256(token)).into();
            let left = record.expires_at.0.checked_sub(self.clock.now().0)?;
            let left = u64::try_from(left).ok().filter(|left| *left > 0)?;
            same.then(|| Duration::from_millis(left))
        });
        let wrong = "the token is not valid for this user and device";
        left.map(Some).ok_or(RequestRefusal::Unauthorized(wrong))
    }

    async fn users(&self, users: &[UserId]) -> Result<Vec<UserInfo>, RequestRefusal> {
        let accounts = self.accounts.get(users).await?;
        let mut found: Vec<_> = accounts.into_iter().map(info).collect();
        if found.len() < users.len() {
            let known: HashSet<_> = found.iter().map(|it| it.user).collect();
            let missing = users.iter().filter(|user| !known.contains(user));
            let missing: Vec<_> = missing.copied().collect();
            found.extend(self.named(&missing).await?);
        }
        Ok(found)
    }
}

/// Counts the letters of a key. A CJK character (Han, kana, Hangul) counts as two, because it
/// stands for a syllable or a word.
fn letters(key: &str) -> usize {
    let is_cjk = |c: char| matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}');
    key.chars().map(|c| if is_cjk(c) { 2 } else { 1 }).sum()
}

/// Checks new values of a profile.
pub(crate) fn check_change(change: &AccountChange) -> Result<(), RequestRefusal> {
    text_limits::name_if("nickname", change.nickname.as_deref())?;
    text_limits::text_if("avatar_url", change.avatar_url.as_deref(), URL_MAX_BYTES)?;
    text_limits::text_if("extra", change.extra.as_deref(), TEXT_MAX_BYTES)?;
    if change.sex.is_some_and(|sex| !(0..=2).contains(&sex)) {
        return Err(RequestRefusal::bad(
            "sex must be 0 (unknown), 1 (male) or 2 (female)",
        ));
    }
    Ok(())
}

/// Checks a phone number.
pub(crate) fn check_phone(phone: &str) -> Result<(), RequestRefusal> {
    let digits = phone.strip_prefix('+').unwrap_or(phone);
    let is_valid = (3..=20).contains(&phone.len())
        && !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_valid {
        return Ok(());
    }
    Err(RequestRefusal::bad(
        "phone_number must be 3 to 20 characters: digits, optionally after a leading +",
    ))
}

fn info(account: UserAccount) -> UserInfo {
    UserInfo {
        user: account.user,
        profile: UserProfile {
            nickname: account.nickname,
            avatar_url: account.avatar_url,
            extra: account.extra,
        },
        sex: account.sex,
        created_at: account.created_at,
        updated_at: account.updated_at,
    }
}
