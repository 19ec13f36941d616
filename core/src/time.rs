//! Wall-clock time and its sources.
//!
//! Wall time is shown to people and limits the age of data on disk. Order, leases and the age of
//! data in memory never depend on it (law 12), because an operator or a time server may set it to
//! any value. Waits use `tokio::time`, which tests can pause.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTimestamp(pub i64);

impl UnixTimestamp {
    /// Returns the time that is `span` later; saturates.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// Returns the time that is `span` earlier; saturates.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// Returns whole seconds since 1970: the unit of gim's `create_time` and `update_time`.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// A source of time.
pub trait TimeSource: fmt::Debug + Send + Sync + 'static {
    /// Returns the current wall-clock time.
    fn now(&self) -> UnixTimestamp;

    /// Returns the time since a fixed moment; it never goes back and is never set.
    fn monotonic(&self) -> Duration;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl TimeSource for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one Clock that reads it"
    )]
    fn now(&self) -> UnixTimestamp {
        let since = std::time::SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        UnixTimestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one Clock that reads it"
    )]
    fn monotonic(&self) -> Duration {
        static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
        START.elapsed()
    }
}

/// A clock that stands still until it is advanced, for tests.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall_ms: AtomicI64,
    monotonic_ms: AtomicU64,
}

impl ManualClock {
    /// Creates a clock that shows this time.
    #[must_use]
    pub const fn at(time: UnixTimestamp) -> Self {
        Self {
            wall_ms: AtomicI64::new(time.0),
            monotonic_ms: AtomicU64::new(0),
        }
    }

    /// Advances both the wall clock and the monotonic clock.
    pub fn advance(&self, span: Duration) {
        self.set(self.now().after(span));
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.monotonic_ms.fetch_add(span, Ordering::SeqCst);
    }

    /// Sets the wall clock, as an operator or a time server may; the monotonic clock does not
    /// advance.
    pub fn set(&self, time: UnixTimestamp) {
        self.wall_ms.store(time.0, Ordering::SeqCst);
    }
}

impl TimeSource for ManualClock {
    fn now(&self) -> UnixTimestamp {
        UnixTimestamp(self.wall_ms.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic_ms.load(Ordering::SeqCst))
    }
}
