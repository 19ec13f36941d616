//! Log lines that strangers or an outage cause: each line of the code at most once in a while.
//!
//! [`info_rated!`](crate::info_rated), [`warn_rated!`](crate::warn_rated) and
//! [`error_rated!`](crate::error_rated) are used like tracing's macros. What was left out meanwhile is counted in the field `suppressed` of the next.
//! A test reads the sources: a `warn!` or `error!` that is not rated needs an entry in its list.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::{Clock as _, SystemClock};

/// A line of the code is logged at most once in this time.
const EVERY_MS: u64 = 30_000;

/// The rate of one line.
#[derive(Debug)]
pub struct LogRate {
    /// When it may be logged again, in milliseconds of the monotonic clock.
    next_ms: AtomicU64,
    suppressed: AtomicU64,
}

impl LogRate {
    /// A line that was not logged yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it stands in statics")]
    pub const fn new() -> Self {
        Self {
            next_ms: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }
    }

    /// Whether the line is logged now, and how often it was not since it was last.
    pub fn take(&self) -> Option<u64> {
        let now = SystemClock.monotonic().as_millis();
        self.take_at(u64::try_from(now).unwrap_or(u64::MAX))
    }

    fn take_at(&self, now: u64) -> Option<u64> {
        let next = self.next_ms.load(Ordering::Relaxed);
        let due = now >= next
            && self
                .next_ms
                .compare_exchange(next, now + EVERY_MS, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !due {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.suppressed.swap(0, Ordering::Relaxed))
    }
}

/// `tracing::warn!`, at most once in 30 s for this line of the code.
#[macro_export]
macro_rules! warn_rated {
    ($($event:tt)+) => {{
        static RATE: $crate::log_rate::LogRate = $crate::log_rate::LogRate::new();
        if let Some(suppressed) = RATE.take() {
            $crate::log_rate::tracing::warn!(suppressed, $($event)+);
        }
    }};
}

/// `tracing::error!`, at most once in 30 s for this line of the code.
#[macro_export]
macro_rules! error_rated {
    ($($event:tt)+) => {{
        static RATE: $crate::log_rate::LogRate = $crate::log_rate::LogRate::new();
        if let Some(suppressed) = RATE.take() {
            $crate::log_rate::tracing::error!(suppressed, $($event)+);
        }
    }};
}

/// `tracing::info!`, at most once in 30 s for this line of the code.
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
