//! Delays between attempts: growing ceilings, and a random part of them ("full jitter"), so that a
//! thousand clients do not reconnect at the same moment.

use std::time::Duration;

/// Delays that grow until [`reset`](Self::reset).
#[derive(Clone, Debug)]
pub(crate) struct ReconnectBackoff {
    base: Duration,
    cap: Duration,
    attempt: u32,
}

impl ReconnectBackoff {
    pub(crate) const fn new(base: Duration, cap: Duration) -> Self {
        Self {
            base,
            cap,
            attempt: 0,
        }
    }

    /// Starts again from the base.
    pub(crate) const fn reset(&mut self) {
        self.attempt = 0;
    }

    /// Returns the next delay: a random part of the ceiling, which doubles with each call.
    pub(crate) fn next(&mut self) -> Duration {
        let ceiling = ceiling(self.base, self.cap, self.attempt);
        self.attempt = self.attempt.saturating_add(1);
        random_part(ceiling)
    }
}

/// Returns the longest delay of an attempt, counted from 0.
pub(crate) fn ceiling(base: Duration, cap: Duration, attempt: u32) -> Duration {
    base.saturating_mul(2_u32.saturating_pow(attempt)).min(cap)
}

/// Returns a random duration from zero to `max`.
pub(crate) fn random_part(max: Duration) -> Duration {
    max.mul_f64(rand::random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF_BASE: Duration = Duration::from_millis(200);
    const BACKOFF_CAP: Duration = Duration::from_secs(15);

    #[test]
    fn ceilings_double_up_to_the_cap_and_never_overflow() {
        let millis: Vec<_> = [0, 1, 2, 6, 7, 31, 32, u32::MAX]
            .map(|attempt| ceiling(BACKOFF_BASE, BACKOFF_CAP, attempt).as_millis())
            .into();
        assert_eq!(
            millis,
            [200, 400, 800, 12_800, 15_000, 15_000, 15_000, 15_000]
        );
    }

    #[test]
    fn delays_are_random_and_below_their_ceiling() {
        let mut backoff = ReconnectBackoff::new(BACKOFF_BASE, BACKOFF_CAP);
        let mut delays = Vec::new();
        for attempt in 0..100 {
            let delay = backoff.next();
            assert!(delay <= ceiling(BACKOFF_BASE, BACKOFF_CAP, attempt));
            delays.push(delay);
        }
        delays.sort_unstable();
        delays.dedup();
        assert!(delays.len() > 90, "only {} different delays", delays.len());
        backoff.reset();
        assert!(backoff.next() <= BACKOFF_BASE);
    }
}
