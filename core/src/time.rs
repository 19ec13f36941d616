//! Wall-clock time, and where it may come from.
//!
//! Wall time is shown to people and bounds the age of what is stored on disk. Order, leases and the
//! age of what is kept in memory never rest on it (law 12): an operator or a time server may set it
//! to anything. Waiting goes through `tokio::time`, which tests can pause.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// That much later; saturates.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// That much earlier; saturates.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// Whole seconds since 1970: the unit of gim's `create_time` and `update_time`.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// Says what time it is.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The current wall-clock time.
    fn now(&self) -> Timestamp;

    /// Time that has passed since a fixed moment; it never goes back and is never set.
    fn monotonic(&self) -> Duration;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one Clock that reads it"
    )]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
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

/// A clock that stands until it is moved: for tests.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall_ms: AtomicI64,
    monotonic_ms: AtomicU64,
}

impl ManualClock {
    /// A clock that shows this time.
    #[must_use]
    pub const fn at(time: Timestamp) -> Self {
        Self {
            wall_ms: AtomicI64::new(time.0),
            monotonic_ms: AtomicU64::new(0),
        }
    }

    /// Lets time pass.
    pub fn advance(&self, span: Duration) {
        self.set(self.now().after(span));
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.monotonic_ms.fetch_add(span, Ordering::SeqCst);
    }

    /// Sets the wall clock, as an operator or a time server may; no time passes.
    pub fn set(&self, time: Timestamp) {
        self.wall_ms.store(time.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall_ms.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic_ms.load(Ordering::SeqCst))
    }
}
