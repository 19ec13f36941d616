//! Rate limits: a token bucket per key, in one number each.
//!
//! A bucket is the time at which it will be full again (the generic cell rate algorithm), so a key
//! that has been quiet needs no entry: what is full is forgotten, and the memory is bounded by who
//! was active in the last few seconds.

use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::map::Map;

/// Keys above which the full buckets are looked for and forgotten.
const SWEEP_FROM: usize = 1_024;
/// Keys at most; beyond it new ones are refused for a while.
const MOST: usize = 1 << 20;

/// A limit for each key.
#[derive(Debug)]
pub struct Rate<K> {
    /// The time one token takes to come back.
    interval: Duration,
    /// The time an empty bucket takes to be full.
    span: Duration,
    buckets: Mutex<Buckets<K>>,
}

#[derive(Debug)]
struct Buckets<K> {
    full_at: Map<K, Instant>,
    sweep_at: usize,
}

impl<K: Eq + Hash> Rate<K> {
    /// So many a second, and `burst` at once.
    #[must_use]
    pub fn per_second(rate: u32, burst: u32) -> Self {
        Self::new(Duration::from_secs(1), rate, burst)
    }

    /// So many a minute, all of them at once if need be.
    #[must_use]
    pub fn per_minute(rate: u32) -> Self {
        Self::new(Duration::from_mins(1), rate, rate)
    }

    /// So many a day, all of them at once if need be.
    #[must_use]
    pub fn per_day(rate: u32) -> Self {
        Self::new(Duration::from_hours(24), rate, rate)
    }

    fn new(period: Duration, rate: u32, burst: u32) -> Self {
        let interval = period / rate.max(1);
        Self {
            interval,
            span: interval * burst.max(1),
            buckets: Mutex::new(Buckets {
                full_at: Map::default(),
                sweep_at: SWEEP_FROM,
            }),
        }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take(&self, key: K) -> Result<(), Duration> {
        self.take_at(key, Instant::now())
    }

    /// Takes several tokens, or none.
    ///
    /// # Errors
    /// How long until there are so many; for more than ever fit, how long until all are there.
    pub fn take_many(&self, key: K, tokens: u32) -> Result<(), Duration> {
        self.take_many_at(key, tokens, Instant::now())
    }

    /// Takes a token at a time that is known already.
    pub(super) fn take_at(&self, key: K, now: Instant) -> Result<(), Duration> {
        self.take_many_at(key, 1, now)
    }

    fn take_many_at(&self, key: K, tokens: u32, now: Instant) -> Result<(), Duration> {
        // Times are whole whatever panicked.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.sweep(now);
        let full = buckets.full_at.len() >= MOST;
        let full_at = buckets.full_at.get(&key).copied();
        if full && full_at.is_none() {
            return Err(self.span);
        }
        let next = full_at.map_or(now, |at| at.max(now)) + self.interval.saturating_mul(tokens);
        let over = next
            .saturating_duration_since(now)
            .saturating_sub(self.span);
        if over.is_zero() {
            buckets.full_at.insert(key, next);
            Ok(())
        } else {
            Err(over.min(self.span))
        }
    }

    /// Gives one token back.
    pub fn refund(&self, key: &K) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_at) = buckets.full_at.get_mut(key) {
            *full_at = full_at.checked_sub(self.interval).unwrap_or(*full_at);
        }
    }

    /// Fills the bucket again.
    pub fn forget(&self, key: &K) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.full_at.remove(key);
    }
}

impl<K: Eq + Hash> Buckets<K> {
    fn sweep(&mut self, now: Instant) {
        if self.full_at.len() < self.sweep_at {
            return;
        }
        self.full_at.retain(|_, at| *at > now);
        self.sweep_at = (self.full_at.len() * 2).clamp(SWEEP_FROM, MOST);
        // At most twice what is live stays allocated.
        self.full_at.shrink_to(self.sweep_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_burst_is_free_and_then_the_rate_holds() {
        let rate = Rate::per_second(10, 5);
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
        let rate = Rate::per_second(100, 100);
        for key in 0..10 * SWEEP_FROM {
            assert_eq!(rate.take(key), Ok(()));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(rate.buckets.lock().unwrap().full_at.len() <= 2 * SWEEP_FROM);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_given_back_is_one() {
        let rate = Rate::per_minute(2);
        assert_eq!(rate.take("a"), Ok(()));
        assert_eq!(rate.take("a"), Ok(()));
        rate.refund(&"a");
        assert_eq!(rate.take("a"), Ok(()));
        assert!(rate.take("a").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_forgotten_key_starts_anew() {
        let rate = Rate::per_minute(1);
        assert_eq!(rate.take("a"), Ok(()));
        assert!(rate.take("a").is_err());
        rate.forget(&"a");
        assert_eq!(rate.take("a"), Ok(()));
    }
}
