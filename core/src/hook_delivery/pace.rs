//! The pace of a hook's delivery: the size of the next batch, and pauses after failures.
//!
//! Pure: the caller passes the time and the random part of a pause.

use std::time::Duration;

use tokio::time::Instant;

/// Shortest pause after a failure.
const MIN_PAUSE: Duration = Duration::from_millis(100);
/// Upper bound of the first pause; it doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause: after an outage the delivery continues within this time.
pub(super) const MAX_PAUSE: Duration = Duration::from_mins(10);

/// Returns the pause after this many failures in a row: random up to a bound that grows ("full jitter"),
/// so that the retries of many events and nodes do not come together. `random` is from 0 to 1.
pub(super) fn pause_after(failures: u32, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    let bound = FIRST_PAUSE.saturating_mul(1 << doublings).min(MAX_PAUSE);
    MIN_PAUSE
        + bound
            .saturating_sub(MIN_PAUSE)
            .mul_f64(random.clamp(0.0, 1.0))
}

/// The pace of a hook.
#[derive(Debug)]
pub(super) struct DeliveryPace {
    max_batch: usize,
    batch: usize,
    failures: u32,
    resume_at: Option<Instant>,
}

impl DeliveryPace {
    /// Begins with full batches.
    pub(super) fn new(max_batch: usize) -> Self {
        let max_batch = max_batch.max(1);
        Self {
            max_batch,
            batch: max_batch,
            failures: 0,
            resume_at: None,
        }
    }

    /// Returns the largest number of events in the next batch.
    pub(super) const fn batch(&self) -> usize {
        self.batch
    }

    /// Returns the failures of the endpoint since its last success.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    /// Returns `true` if several batches may be under way at a time.
    pub(super) const fn is_healthy(&self) -> bool {
        self.failures == 0 && self.batch == self.max_batch
    }

    /// Returns the end of the present pause.
    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.resume_at.filter(|until| *until > now)
    }

    /// Records a success; returns `true` if the endpoint had failed before. Batches grow again.
    pub(super) fn succeeded(&mut self) -> bool {
        self.batch = self.batch.saturating_mul(2).min(self.max_batch);
        self.resume_at = None;
        std::mem::take(&mut self.failures) > 0
    }

    /// Makes the next batches half as large as one that failed.
    pub(super) fn split(&mut self, failed: usize) {
        self.batch = (failed / 2).clamp(1, self.max_batch);
    }

    /// Pauses after a failure of the endpoint.
    pub(super) fn pause(&mut self, now: Instant, wanted: Option<Duration>, random: f64) {
        self.failures = self.failures.saturating_add(1);
        let own = pause_after(self.failures, random);
        let pause = wanted.map_or(own, |wanted| own.max(wanted.min(MAX_PAUSE)));
        self.resume_at = Some(now + pause);
    }

    /// Pauses without counting a failure of the endpoint: the store did not answer.
    pub(super) fn wait(&mut self, now: Instant) {
        self.resume_at = Some(now + FIRST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest_and_are_random_below() {
        assert_eq!(pause_after(1, 0.0), MIN_PAUSE);
        assert_eq!(pause_after(1, 1.0), FIRST_PAUSE);
        assert_eq!(pause_after(4, 1.0), FIRST_PAUSE * 8);
        assert_eq!(pause_after(4, 0.0), MIN_PAUSE);
        assert_eq!(pause_after(u32::MAX, 1.0), MAX_PAUSE);
        let total: Duration = (1..=200).map(|failures| pause_after(failures, 0.5)).sum();
        let day = Duration::from_hours(24);
        assert!(
            total < day,
            "a day has some 200 attempts or more: {total:?}"
        );
    }

    #[test]
    fn a_batch_is_halved_until_it_is_one_event_and_grows_with_each_success() {
        let mut pace = DeliveryPace::new(100);
        let mut sizes = Vec::new();
        while pace.batch() > 1 {
            pace.split(pace.batch());
            sizes.push(pace.batch());
        }
        assert_eq!(sizes, [50, 25, 12, 6, 3, 1]);
        assert!(!pace.is_healthy());
        assert!(
            !pace.succeeded(),
            "a refused batch is no failure of the endpoint"
        );
        assert_eq!(pace.batch(), 2);
        for _ in 0..6 {
            pace.succeeded();
        }
        assert_eq!(pace.batch(), 100);
        assert!(pace.is_healthy());
    }

    #[test]
    fn the_endpoint_may_ask_for_a_longer_pause_but_not_for_a_day() {
        let now = Instant::now();
        let mut pace = DeliveryPace::new(1);
        pace.pause(now, Some(Duration::from_secs(90)), 0.5);
        assert_eq!(pace.paused_until(now), Some(now + Duration::from_secs(90)));
        pace.pause(now, Some(Duration::from_hours(24)), 0.5);
        assert_eq!(pace.paused_until(now), Some(now + MAX_PAUSE));
        pace.pause(now, Some(Duration::ZERO), 1.0);
        assert_eq!(pace.paused_until(now), Some(now + FIRST_PAUSE * 4));
        assert!(pace.succeeded());
        assert_eq!(pace.paused_until(now), None);
    }
}
