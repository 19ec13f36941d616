//! Rate limits: a token bucket for each key, stored as one time.
//!
//! The time is that at which the bucket will be full again (the generic cell rate algorithm). A
//! full bucket needs no entry, so idle keys are removed, and memory is bounded by the keys that
//! were active within the time in which a bucket fills.

use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::map::FastHashMap;

/// Number of keys from which full buckets are removed.
const SWEEP_MIN_KEYS: usize = 1_024;
/// Largest number of keys; beyond it new keys are refused for a while.
const MAX_KEYS: usize = 1 << 20;

/// A limit for each key.
#[derive(Debug)]
pub struct RateLimiter<K> {
    /// Time in which one token comes back.
    interval: Duration,
    /// Time in which an empty bucket becomes full.
    span: Duration,
    buckets: Mutex<TokenBuckets<K>>,
}

#[derive(Debug)]
struct TokenBuckets<K> {
    full_at: FastHashMap<K, Instant>,
    sweep_at: usize,
}

impl<K: Eq + Hash> RateLimiter<K> {
    /// Allows `rate` tokens per second, and `burst` at once.
    #[must_use]
    pub fn per_second(rate: u32, burst: u32) -> Self {
        Self::new(Duration::from_secs(1), rate, burst)
    }

    /// Allows `rate` tokens per minute, up to all of them at once.
    #[must_use]
    pub fn per_minute(rate: u32) -> Self {
        Self::new(Duration::from_mins(1), rate, rate)
    }

    /// Allows `rate` tokens per day, up to all of them at once.
    #[must_use]
    pub fn per_day(rate: u32) -> Self {
        Self::new(Duration::from_hours(24), rate, rate)
    }

    fn new(period: Duration, rate: u32, burst: u32) -> Self {
        let interval = period / rate.max(1);
        Self {
            interval,
            span: interval * burst.max(1),
            buckets: Mutex::new(TokenBuckets {
                full_at: FastHashMap::default(),
                sweep_at: SWEEP_MIN_KEYS,
            }),
        }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// The time until a token is available.
    pub fn take(&self, key: K) -> Result<(), Duration> {
        self.take_at(key, Instant::now())
    }

    /// Takes several tokens, or none.
    ///
    /// # Errors
    /// The time until that many tokens are available; for more than the burst, the time in which
    /// the bucket fills.
    pub fn take_many(&self, key: K, tokens: u32) -> Result<(), Duration> {
        self.take_many_at(key, tokens, Instant::now())
    }

    /// Takes a token at a time that the caller has already read.
    pub(crate) fn take_at(&self, key: K, now: Instant) -> Result<(), Duration> {
        self.take_many_at(key, 1, now)
    }

    fn take_many_at(&self, key: K, tokens: u32, now: Instant) -> Result<(), Duration> {
        // Times stay consistent after a panic, so poisoning is ignored.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.sweep(now);
        let next = self.full_after(&buckets, &key, tokens, now)?;
        buckets.full_at.insert(key, next);
        Ok(())
    }

    /// Returns whether that many tokens are available, without taking them.
    ///
    /// # Errors
    /// As [`take_many`](Self::take_many).
    pub fn spare(&self, key: &K, tokens: u32) -> Result<(), Duration> {
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.full_after(&buckets, key, tokens, Instant::now());
        next.map(|_| ())
    }

    /// Returns the time at which the bucket will be full once these tokens are taken.
    fn full_after(
        &self,
        buckets: &TokenBuckets<K>,
        key: &K,
        tokens: u32,
        now: Instant,
    ) -> Result<Instant, Duration> {
        let full_at = buckets.full_at.get(key).copied();
        if buckets.full_at.len() >= MAX_KEYS && full_at.is_none() {
            return Err(self.span);
        }
        let next = full_at.map_or(now, |at| at.max(now)) + self.interval.saturating_mul(tokens);
        let over = next
            .saturating_duration_since(now)
            .saturating_sub(self.span);
        if over.is_zero() {
            Ok(next)
        } else {
            Err(over.min(self.span))
        }
    }

    /// Returns one token to the bucket.
    pub fn refund(&self, key: &K) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_at) = buckets.full_at.get_mut(key) {
            *full_at = full_at.checked_sub(self.interval).unwrap_or(*full_at);
        }
    }

    /// Fills the bucket.
    pub fn forget(&self, key: &K) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.full_at.remove(key);
    }
}

impl<K: Eq + Hash> TokenBuckets<K> {
    fn sweep(&mut self, now: Instant) {
        if self.full_at.len() < self.sweep_at {
            return;
        }
        self.full_at.retain(|_, at| *at > now);
        self.sweep_at = (self.full_at.len() * 2).clamp(SWEEP_MIN_KEYS, MAX_KEYS);
        // At most twice the live size stays allocated.
        self.full_at.shrink_to(self.sweep_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_burst_is_free_and_then_the_rate_holds() {
        let rate = RateLimiter::per_second(10, 5);
        for _ in 0..5 {
            assert_eq!(rate.take(1), Ok(()));
        }
        assert_eq!(rate.take(1), Err(Duration::from_millis(100)));
        assert_eq!(rate.take(2), Ok(()));
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!(rate.take(1), Ok(()));
        assert!(rate.take(1).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn quiet_keys_are_forgotten() {
        let rate = RateLimiter::per_second(100, 100);
        for key in 0..10 * SWEEP_MIN_KEYS {
            assert_eq!(rate.take(key), Ok(()));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(rate.buckets.lock().unwrap().full_at.len() <= 2 * SWEEP_MIN_KEYS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_given_back_is_one() {
        let rate = RateLimiter::per_minute(2);
        assert_eq!(rate.take("a"), Ok(()));
        assert_eq!(rate.take("a"), Ok(()));
        rate.refund(&"a");
        assert_eq!(rate.take("a"), Ok(()));
        assert!(rate.take("a").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_for_tokens_takes_none() {
        let rate = RateLimiter::per_minute(2);
        for _ in 0..3 {
            assert_eq!(rate.spare(&"a", 2), Ok(()));
        }
        assert_eq!(rate.take("a"), Ok(()));
        assert_eq!(rate.spare(&"a", 1), Ok(()));
        assert_eq!(rate.spare(&"a", 2), Err(Duration::from_secs(30)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_forgotten_key_has_a_full_bucket() {
        let rate = RateLimiter::per_minute(1);
        assert_eq!(rate.take("a"), Ok(()));
        assert!(rate.take("a").is_err());
        rate.forget(&"a");
        assert_eq!(rate.take("a"), Ok(()));
    }
}
