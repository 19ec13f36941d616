//! Rate limits for log lines that clients or an outage can cause: each call site logs at most once
//! in 30 s.
//!
//! [`info_rated!`](crate::info_rated), [`warn_rated!`](crate::warn_rated) and
//! [`error_rated!`](crate::error_rated) are used like tracing's macros. The field `suppressed`
//! counts the events that were left out since the last logged one. A `warn!` or `error!` without a
//! rate limit needs an entry in the list of `tests/tests/log_lines.rs`, which reads the sources.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::{SystemClock, TimeSource as _};

/// Shortest time between two events of one call site.
const LOG_INTERVAL_MS: u64 = 30_000;

/// Rate limit of one call site.
#[derive(Debug)]
pub struct LogRate {
    /// Time of the next allowed event, in milliseconds of the monotonic clock.
    next_ms: AtomicU64,
    suppressed: AtomicU64,
}

impl LogRate {
    /// Creates a limit that allows its first event.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "used in statics only")]
    pub const fn new() -> Self {
        Self {
            next_ms: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }
    }

    /// Returns the number of suppressed events if this one may be logged, or `None` and counts it
    /// as suppressed.
    pub fn take(&self) -> Option<u64> {
        let now = SystemClock.monotonic().as_millis();
        self.take_at(u64::try_from(now).unwrap_or(u64::MAX))
    }

    fn take_at(&self, now: u64) -> Option<u64> {
        let next = self.next_ms.load(Ordering::Relaxed);
        // Of several threads that find the event due, the one whose exchange succeeds logs it.
        let due = now >= next
            && self
                .next_ms
                .compare_exchange(
                    next,
                    now + LOG_INTERVAL_MS,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        if !due {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.suppressed.swap(0, Ordering::Relaxed))
    }
}

/// Logs as `tracing::warn!` does, at most once in 30 s for this call site.
#[macro_export]
macro_rules! warn_rated {
    ($($event:tt)+) => {{
        static RATE: $crate::log_rate::LogRate = $crate::log_rate::LogRate::new();
        if let Some(suppressed) = RATE.take() {
            $crate::log_rate::tracing::warn!(suppressed, $($event)+);
        }
    }};
}

/// Logs as `tracing::error!` does, at most once in 30 s for this call site.
#[macro_export]
macro_rules! error_rated {
    ($($event:tt)+) => {{
        static RATE: $crate::log_rate::LogRate = $crate::log_rate::LogRate::new();
        if let Some(suppressed) = RATE.take() {
            $crate::log_rate::tracing::error!(suppressed, $($event)+);
        }
    }};
}

/// Logs as `tracing::info!` does, at most once in 30 s for this call site.
#[macro_export]
macro_rules! info_rated {
    ($($event:tt)+) => {{
        static RATE: $crate::log_rate::LogRate = $crate::log_rate::LogRate::new();
        if let Some(suppressed) = RATE.take() {
            $crate::log_rate::tracing::info!(suppressed, $($event)+);
        }
    }};
}

#[doc(hidden)]
pub use tracing;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_logged_once_and_what_was_left_out_is_counted() {
        let rate = LogRate::new();
        assert_eq!(rate.take_at(5), Some(0));
        for now in [5, 6, 30_004] {
            assert_eq!(rate.take_at(now), None);
        }
        assert_eq!(rate.take_at(30_005), Some(3));
        assert_eq!(rate.take_at(30_005), None);
    }
}
