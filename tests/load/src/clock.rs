//! Clocks for measuring: the system's monotonic clock in nanoseconds, which is the same in all
//! processes of one machine, so that one process can read the stamps of another; and the date, for
//! messages and reports.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// Returns the nanoseconds since the machine started.
#[must_use]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    seconds * SECOND + nanos
}

/// Returns the milliseconds since 1970 UTC.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "a load generator has no clock to pause"
)]
pub fn today() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}

/// Converts a duration to nanoseconds.
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Converts nanoseconds to seconds.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "2^53 nanoseconds are a hundred days"
)]
pub fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
