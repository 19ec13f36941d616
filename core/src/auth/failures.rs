//! Limits failed sign-ins per address, and per user from an address, so that tokens cannot be
//! guessed in bulk.
//!
//! Used by every entry point that checks clients' tokens. A stranger can fail in
//! somebody else's name, so a count must not lock the real user out: failures for a user are
//! counted separately for each address. Clients behind a proxy on this machine have no address of
//! their own and share one count per user; there, once the count is reached, one token of the user
//! is still checked per second, the first that comes. A token that was accepted by this process
//! before is always checked, and takes no other token's turn. A new token of the user may need
//! several attempts while somebody guesses: nothing distinguishes it from a guess.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::RequestRefusal;
use crate::id::{DeviceId, UserId};

/// The period over which failures are counted.
const FAILURE_WINDOW: Duration = Duration::from_mins(1);

/// The limit of an address, over all users, as a multiple of the limit for one user: many people
/// share an address.
const ADDRESS_LIMIT_FACTOR: u32 = 10;

/// Time between two checks for a user without a client address whose limit is reached.
const PROXIED_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Entries of a map at which expired ones are removed; when it is still full, new ones are not
/// counted.
const MAX_COUNTED_KEYS: usize = 10_000;

/// Accepted tokens remembered per generation; two generations are kept, eight bytes per token.
const TOKENS_PER_GENERATION: usize = 32 * 1024;

/// One attempt to sign in, or to call with a token or an API key.
#[derive(Clone, Copy, Debug)]
pub struct SignInAttempt {
    address: Option<IpAddr>,
    /// `None` for an API key, which belongs to no user: such attempts share their counts.
    user: Option<UserId>,
    token: u64,
}

/// Failed sign-ins of the last minute.
#[derive(Debug)]
pub struct SignInFailures {
    max: u32,
    hasher: RandomState,
    failed: AtomicU64,
    /// A plain mutex: it is held for a few map operations and never over an await.
    state: Mutex<FailureState>,
}

#[derive(Debug, Default)]
struct FailureState {
    addresses: FailureCounts<IpAddr>,
    users: FailureCounts<(Option<IpAddr>, Option<UserId>)>,
    /// Time of the last check allowed for a user without a client address.
    trickle: HashMap<Option<UserId>, Instant>,
    right: AcceptedTokens,
}

impl SignInFailures {
    /// Allows `max` failures in a minute for one user from one address, after which that user is
    /// refused from that address until the minute is over. An address is refused after ten times as
    /// many.
    #[must_use]
    pub fn new(max: u32) -> Self {
        Self {
            max,
            hasher: RandomState::new(),
            failed: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// Describes an attempt from this [address](crate::auth::client_address), which is
    /// `None` for a client without an address of its own.
    #[must_use]
    pub fn attempt(
        &self,
        address: Option<IpAddr>,
        user: UserId,
        device: DeviceId,
        token: &str,
    ) -> SignInAttempt {
        SignInAttempt {
            address,
            user: Some(user),
            // A hash is enough: a collision only makes a wrong token be checked, not accepted.
            token: self.hasher.hash_one((user, device, token)),
        }
    }

    /// Describes an attempt with an API key, whose hash is given.
    #[must_use]
    pub fn key_attempt(&self, address: Option<IpAddr>, hash: &[u8; 32]) -> SignInAttempt {
        SignInAttempt {
            address,
            user: None,
            token: self.hasher.hash_one(hash),
        }
    }

    /// Decides whether the token may be checked.
    ///
    /// # Errors
    /// The address, or the user from this address, has reached its limit, and this process has
    /// never accepted the token.
    pub fn check(&self, attempt: &SignInAttempt) -> Result<(), RequestRefusal> {
        let mut state = self.lock();
        // First: a token that is checked anyway must not take the turn of the second.
        if state.right.has(attempt.token) {
            return Ok(());
        }
        let max = self.max.saturating_mul(ADDRESS_LIMIT_FACTOR);
        let by_address = attempt.address.map(|a| state.addresses.left(&a, max));
        let key = (attempt.address, attempt.user);
        let mut by_user = state.users.left(&key, self.max);
        if !by_user.is_zero() && attempt.address.is_none() {
            by_user = state.trickle(attempt.user);
        }
        let left = by_address.unwrap_or_default().max(by_user);
        if left.is_zero() {
            return Ok(());
        }
        Err(RequestRefusal::RateLimited { retry_after: left })
    }

    /// Runs a check of the attempt's token, unless a limit is reached, and records its result.
    /// `is_wrong` tells which refusals mean a wrong token.
    ///
    /// # Errors
    /// The refusal of [`check`](Self::check), or of the check that was run.
    pub async fn guard<T>(
        &self,
        attempt: &SignInAttempt,
        checked: impl Future<Output = Result<T, RequestRefusal>>,
        is_wrong: impl Fn(&RequestRefusal) -> bool,
    ) -> Result<T, RequestRefusal> {
        // First, so that a refused guesser costs the business role nothing.
        self.check(attempt)?;
        let result = checked.await;
        match &result {
            Ok(_) => self.right(attempt),
            Err(refusal) if is_wrong(refusal) => self.wrong(attempt),
            Err(_) => {}
        }
        result
    }

    /// Records that the token was wrong.
    pub fn wrong(&self, attempt: &SignInAttempt) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        // It may have been accepted before and revoked since.
        state.right.forget(attempt.token);
        state.users.note((attempt.address, attempt.user));
        if let Some(address) = attempt.address {
            state.addresses.note(address);
        }
    }

    /// Records that the token was valid.
    pub fn right(&self, attempt: &SignInAttempt) {
        self.lock().right.note(attempt.token);
    }

    /// Returns the number of wrong tokens so far.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, FailureState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FailureState {
    /// Allows one check per [`PROXIED_CHECK_INTERVAL`] for a user; otherwise returns the time to
    /// wait.
    fn trickle(&mut self, user: Option<UserId>) -> Duration {
        if self.trickle.len() >= MAX_COUNTED_KEYS {
            self.trickle
                .retain(|_, at| at.elapsed() < PROXIED_CHECK_INTERVAL);
        }
        let last = self.trickle.get(&user).map(Instant::elapsed);
        match last.and_then(|since| PROXIED_CHECK_INTERVAL.checked_sub(since)) {
            Some(left) if !left.is_zero() => left,
            _ if self.trickle.len() >= MAX_COUNTED_KEYS => PROXIED_CHECK_INTERVAL,
            _ => {
                self.trickle.insert(user, Instant::now());
                Duration::ZERO
            }
        }
    }
}

/// Failures in the current minute, by key.
#[derive(Debug)]
struct FailureCounts<K>(HashMap<K, (Instant, u32)>);

impl<K> Default for FailureCounts<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> FailureCounts<K> {
    /// Returns how long the key is still refused; zero if it is not.
    fn left(&self, key: &K, max: u32) -> Duration {
        match self.0.get(key) {
            Some((since, count)) if *count >= max => FAILURE_WINDOW.saturating_sub(since.elapsed()),
            _ => Duration::ZERO,
        }
    }

    fn note(&mut self, key: K) {
        if self.0.len() >= MAX_COUNTED_KEYS && !self.0.contains_key(&key) {
            self.0
                .retain(|_, (since, _)| since.elapsed() < FAILURE_WINDOW);
            if self.0.len() >= MAX_COUNTED_KEYS {
                return;
            }
        }
        let place = self.0.entry(key).or_insert((Instant::now(), 0));
        if place.0.elapsed() >= FAILURE_WINDOW {
            *place = (Instant::now(), 0);
        }
        place.1 = place.1.saturating_add(1);
    }
}

/// Hashes of recently accepted tokens, in two generations, so that the oldest are dropped together.
#[derive(Debug, Default)]
struct AcceptedTokens {
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl AcceptedTokens {
    fn has(&self, token: u64) -> bool {
        self.young.contains(&token) || self.old.contains(&token)
    }

    fn note(&mut self, token: u64) {
        if self.young.insert(token) && self.young.len() >= TOKENS_PER_GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
    }

    fn forget(&mut self, token: u64) {
        self.young.remove(&token);
        self.old.remove(&token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(failures: &SignInFailures, address: &str, user: u64, token: &str) -> SignInAttempt {
        let address = crate::auth::client_address(address.parse().unwrap());
        let (user, device) = (UserId::new(user).unwrap(), DeviceId::new(7).unwrap());
        failures.attempt(address, user, device, token)
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_refused_for_the_rest_of_a_minute() {
        let failures = SignInFailures::new(1);
        let guess = |user| attempt(&failures, "192.0.2.1", user, "x");
        for user in 1..=10 {
            failures.check(&guess(user)).unwrap();
            failures.wrong(&guess(user));
        }
        assert_eq!(failures.check(&guess(11)).unwrap_err().code(), 8);
        failures
            .check(&attempt(&failures, "192.0.2.2", 11, "x"))
            .unwrap();
        tokio::time::advance(FAILURE_WINDOW).await;
        failures.check(&guess(11)).unwrap();
        failures.wrong(&guess(11));
        failures.check(&guess(12)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_in_a_users_name_lock_out_only_the_guessing_address() {
        let failures = SignInFailures::new(2);
        let known = attempt(&failures, "192.0.2.1", 1, "right");
        failures.right(&known);
        let guess = attempt(&failures, "192.0.2.1", 1, "guess");
        for _ in 0..2 {
            failures.check(&guess).unwrap();
            failures.wrong(&guess);
        }
        assert_eq!(failures.check(&guess).unwrap_err().code(), 8);
        // A new token from another address, which this process has never seen.
        failures
            .check(&attempt(&failures, "192.0.2.2", 1, "fresh"))
            .unwrap();
        failures
            .check(&attempt(&failures, "192.0.2.1", 2, "fresh"))
            .unwrap();
        failures.check(&known).unwrap();
        // Revoked: it now counts as a guess.
        failures.wrong(&known);
        assert!(failures.check(&known).is_err());
        assert_eq!(failures.failed(), 3);
        tokio::time::advance(FAILURE_WINDOW).await;
        failures.check(&guess).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn behind_a_proxy_guesses_are_bounded_and_one_token_a_second_is_checked() {
        let failures = SignInFailures::new(2);
        let guess = attempt(&failures, "127.0.0.1", 1, "guess");
        let mut looked_at = 0;
        for _ in 0..1_000 {
            if failures.check(&guess).is_ok() {
                failures.wrong(&guess);
                looked_at += 1;
            }
        }
        assert_eq!(looked_at, 3);
        let fresh = attempt(&failures, "::1", 1, "fresh");
        let refusal = failures.check(&fresh).unwrap_err();
        assert!(
            matches!(refusal, RequestRefusal::RateLimited { retry_after } if retry_after <= PROXIED_CHECK_INTERVAL)
        );
        tokio::time::advance(PROXIED_CHECK_INTERVAL).await;
        // A token that was accepted before does not take the turn.
        let known = attempt(&failures, "127.0.0.1", 1, "known");
        failures.right(&known);
        failures.check(&known).unwrap();
        failures.check(&fresh).unwrap();
        // Other users are not affected.
        failures
            .check(&attempt(&failures, "127.0.0.1", 2, "x"))
            .unwrap();
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut remembered = AcceptedTokens::default();
        for token in 0..5 * TOKENS_PER_GENERATION as u64 {
            remembered.note(token);
        }
        assert!(remembered.young.len() + remembered.old.len() <= 2 * TOKENS_PER_GENERATION);
        assert!(remembered.has(5 * TOKENS_PER_GENERATION as u64 - 1) && !remembered.has(0));
    }
}
