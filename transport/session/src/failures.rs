//! Failed sign-ins, counted per address and per user, so that tokens cannot be guessed in bulk.
//!
//! Serves the sessions and whoever else checks tokens of clients. A stranger can fail in somebody's
//! name, so the count of a user must lock nobody out who was let in before: a token that was right
//! here is looked at whatever the counts say.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gimlet_core::error::Refusal;
use gimlet_core::id::{DeviceId, UserId};
use tokio::time::Instant;

/// What is counted together.
const WINDOW: Duration = Duration::from_mins(1);

/// Addresses, or users, at which old ones are forgotten; beyond it new ones are not counted.
const CROWD: usize = 10_000;

/// Right tokens remembered in one generation; two are kept, of eight bytes each.
const REMEMBERED: usize = 32 * 1024;

/// One attempt to sign in, or to call with a token.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    address: Option<IpAddr>,
    user: UserId,
    token: u64,
}

/// Failed sign-ins of the last minute.
#[derive(Debug)]
pub struct Failures {
    most: u32,
    hasher: RandomState,
    failed: AtomicU64,
    /// A plain mutex: it is held for a few map operations and never over a wait.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    addresses: Counts<IpAddr>,
    users: Counts<UserId>,
    right: Remembered,
}

impl Failures {
    /// `most` failures in a minute; from then on the address, or the user, is refused until the
    /// minute is over.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self {
            most,
            hasher: RandomState::new(),
            failed: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// Names an attempt from this [address](crate::admission::client_address), if the client is
    /// known by one.
    #[must_use]
    pub fn attempt(
        &self,
        address: Option<IpAddr>,
        user: UserId,
        device: DeviceId,
        token: &str,
    ) -> Attempt {
        Attempt {
            address,
            user,
            // Who finds another token of this number has found that it is looked at, not more.
            token: self.hasher.hash_one((user, device, token)),
        }
    }

    /// Whether the token may be looked at.
    ///
    /// # Errors
    /// Too many failures of the address or of the user, and the token was never right here.
    pub fn check(&self, attempt: &Attempt) -> Result<(), Refusal> {
        let state = self.lock();
        let by_address = attempt.address.map(|a| state.addresses.left(&a, self.most));
        let by_user = state.users.left(&attempt.user, self.most);
        let left = by_address.unwrap_or_default().max(by_user);
        if left.is_zero() || state.right.has(attempt.token) {
            return Ok(());
        }
        Err(Refusal::RateLimited { retry_after: left })
    }

    /// The token was wrong.
    pub fn wrong(&self, attempt: &Attempt) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        // It may have been right before, and revoked since.
        state.right.forget(attempt.token);
        state.users.note(attempt.user);
        if let Some(address) = attempt.address {
            state.addresses.note(address);
        }
    }

    /// The token was right.
    pub fn right(&self, attempt: &Attempt) {
        self.lock().right.note(attempt.token);
    }

    /// Wrong tokens so far.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Failures of the present minute of each.
#[derive(Debug)]
struct Counts<K>(HashMap<K, (Instant, u32)>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Counts<K> {
    /// How long it is refused, if it is.
    fn left(&self, key: &K, most: u32) -> Duration {
        match self.0.get(key) {
            Some((since, count)) if *count >= most => WINDOW.saturating_sub(since.elapsed()),
            _ => Duration::ZERO,
        }
    }

    fn note(&mut self, key: K) {
        if self.0.len() >= CROWD && !self.0.contains_key(&key) {
            self.0.retain(|_, (since, _)| since.elapsed() < WINDOW);
            if self.0.len() >= CROWD {
                return;
            }
        }
        let place = self.0.entry(key).or_insert((Instant::now(), 0));
        if place.0.elapsed() >= WINDOW {
            *place = (Instant::now(), 0);
        }
        place.1 = place.1.saturating_add(1);
    }
}

/// The latest right tokens, as numbers: two generations, so that the oldest go together.
#[derive(Debug, Default)]
struct Remembered {
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl Remembered {
    fn has(&self, token: u64) -> bool {
        self.young.contains(&token) || self.old.contains(&token)
    }

    fn note(&mut self, token: u64) {
        if self.young.insert(token) && self.young.len() >= REMEMBERED {
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

    fn attempt(failures: &Failures, address: &str, user: u64, token: &str) -> Attempt {
        let address = crate::admission::client_address(address.parse().unwrap());
        let (user, device) = (UserId::new(user).unwrap(), DeviceId::new(7).unwrap());
        failures.attempt(address, user, device, token)
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_refused_for_the_rest_of_a_minute() {
        let failures = Failures::new(2);
        let guess = |user| attempt(&failures, "192.0.2.1", user, "x");
        failures.wrong(&guess(1));
        failures.check(&guess(2)).unwrap();
        failures.wrong(&guess(2));
        assert_eq!(failures.check(&guess(3)).unwrap_err().code(), 8);
        failures
            .check(&attempt(&failures, "192.0.2.2", 3, "x"))
            .unwrap();
        tokio::time::advance(WINDOW).await;
        failures.check(&guess(3)).unwrap();
        failures.wrong(&guess(3));
        failures.check(&guess(3)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_is_refused_whatever_the_address_and_who_was_let_in_before_is_not() {
        let failures = Failures::new(2);
        let known = attempt(&failures, "127.0.0.1", 1, "right");
        failures.right(&known);
        for address in ["192.0.2.1", "127.0.0.1"] {
            failures.wrong(&attempt(&failures, address, 1, "guess"));
        }
        let guess = attempt(&failures, "192.0.2.3", 1, "guess");
        assert_eq!(failures.check(&guess).unwrap_err().code(), 8);
        failures.check(&known).unwrap();
        failures
            .check(&attempt(&failures, "192.0.2.3", 2, "guess"))
            .unwrap();
        // Revoked: from now on it is as good as a guess.
        failures.wrong(&known);
        assert!(failures.check(&known).is_err());
        assert_eq!(failures.failed(), 3);
        tokio::time::advance(WINDOW).await;
        failures.check(&guess).unwrap();
    }

    #[test]
    fn loopback_is_everybody_behind_a_proxy_and_not_counted() {
        let failures = Failures::new(1);
        for (user, address) in [(1, "127.0.0.1"), (2, "::1")] {
            failures.wrong(&attempt(&failures, address, user, "x"));
            failures
                .check(&attempt(&failures, address, user + 10, "x"))
                .unwrap();
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut remembered = Remembered::default();
        for token in 0..5 * REMEMBERED as u64 {
            remembered.note(token);
        }
        assert!(remembered.young.len() + remembered.old.len() <= 2 * REMEMBERED);
        assert!(remembered.has(5 * REMEMBERED as u64 - 1) && !remembered.has(0));
    }
}
